"""The `cellwire` script.

Each part of Cellwire brings its commands as entry points of the group `cellwire.commands`: a name,
and a function for typer. The command that was asked for is loaded, and no other; all of them only
to list them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer

GROUP = "cellwire.commands"

# Which extra brings what a package needs.
_EXTRAS = {"cellwire.server": "server", "cellwire.exporter": "train"}


def main() -> None:
    """Run the command line; ends the process with the command's exit code."""
    # gRPC tells of every connection that ends, on stderr, which is ours; we say what matters.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    commands = {command.name: command for command in entry_points(group=GROUP)}
    asked = commands.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if asked is None:
        _app(commands.values(), _load_to_list)()
        return
    try:
        _app([asked], EntryPoint.load)()
    except ModuleNotFoundError as error:
        need = _need(asked, error)
        if need is None:
            raise
        typer.echo(f"cellwire {asked.name} {need}", err=True)
        sys.exit(2)


def _app(
    commands: Iterable[EntryPoint], load: Callable[[EntryPoint], Callable[..., None]]
) -> typer.Typer:
    app = typer.Typer(add_completion=False, no_args_is_help=True, pretty_exceptions_enable=False)
    app.callback(invoke_without_command=True)(_cellwire)
    for command in commands:
        app.command(command.name)(load(command))
    return app


def _cellwire(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.")
    ] = False,
) -> None:
    """Recurrent language models, served as live streams."""
    if show_version:
        typer.echo(version("cellwire"))
        raise typer.Exit


def _load_to_list(command: EntryPoint) -> Callable[..., None]:
    """Load a command for its help; one that cannot be loaded says why, and hides no other."""
    try:
        function: Callable[..., None] = command.load()
    except (ImportError, AttributeError) as error:
        need = _need(command, error) if isinstance(error, ModuleNotFoundError) else None

        def function() -> None: ...

        function.__doc__ = need or f"cannot be loaded: {error}"
    return function


def _need(command: EntryPoint, error: ModuleNotFoundError) -> str | None:
    """Say which extra brings the missing package; None if the mistake is our own."""
    extras = (
        extra for part, extra in _EXTRAS.items() if f"{command.module}.".startswith(f"{part}.")
    )
    extra = next(extras, None)
    if extra is None or (error.name or "").partition(".")[0] == "cellwire":
        return None
    return f"needs the {extra} extra: pip install 'cellwire[{extra}]'"
