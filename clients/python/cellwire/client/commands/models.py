"""`cellwire models`, `cellwire load` and `cellwire unload`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.outcome import Misused, run
from cellwire.client.commands.output import on_one_line, say
from cellwire.client.commands.parameters import Target

_SUFFIX = ".onnx"


def models(*, target: Target = DEFAULT_TARGET) -> None:
    """List the models that the daemon serves."""

    async def list_models() -> None:
        from rich.console import Console

        from cellwire.client.commands.table import table_of

        async with connect(target) as daemon:
            Console().print(table_of(await daemon.models()))

    run(list_models(), target)


def load(
    name: Annotated[
        str, typer.Argument(metavar="NAME", help="A file of that folder, without .onnx.")
    ],
    *,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Let the daemon serve one more model of its model folder.

    The folder is the one that `cellwire serve --model-folder` names.

    For example:

        cellwire load mytext
        cellwire generate --model mytext --prompt "..."
    """
    checked = _checked(name)

    async def load_model() -> None:
        async with connect(target) as daemon:
            model = await daemon.load_model(checked)
            say(
                f"serves {on_one_line(model.name)}: {model.layer_count} x {model.hidden_size} "
                f"{model.cell_kind}, {model.vocabulary.size:,} symbols"
            )

    run(load_model(), target)


def unload(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A model that the daemon serves.")],
    *,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Let the daemon stop serving a model; its sessions end.

    For example:

        cellwire unload mytext
    """
    checked = _checked(name)

    async def unload_model() -> None:
        async with connect(target) as daemon:
            count = await daemon.unload_model(checked)
            say(f"no longer serves {on_one_line(checked)}; {count:,} sessions ended with it")

    run(unload_model(), target)


def _checked(name: str) -> str:
    """Return a model's name, which is no path; Misused."""
    if "/" in name or "\\" in name:
        raise Misused(
            f"{name!r} is a path; give the name of a file in the daemon's model folder, without "
            f"folder and {_SUFFIX}"
        )
    if not name.removesuffix(_SUFFIX):
        raise Misused("the name is empty; `cellwire models` lists what is served")
    return name.removesuffix(_SUFFIX)
