"""The `cellwire` script.

Each part of Cellwire registers its commands as entry points of the group `cellwire.commands`: a
name, and a function for typer. Only the command in the arguments is loaded; the help loads all.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer

GROUP = "cellwire.commands"

# The extra that installs a package's dependencies.
_EXTRAS = {"cellwire.server": "server", "cellwire.exporter": "train"}


def main() -> None:
    """Run the command line; ends the process with the command's exit code."""
    # gRPC logs every connection that ends to stderr, which is for this program's own messages.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    commands = {command.name: command for command in entry_points(group=GROUP)}
    command = commands.get(sys.argv[1]) if len(sys.argv) > 1 else None
    if command is None:
        _app(commands.values(), _load_to_list)()
        return
    try:
        _app([command], EntryPoint.load)()
    except ModuleNotFoundError as error:
        need = _need(command, error)
        if need is None:
            raise
        typer.echo(f"cellwire {command.name} {need}", err=True)
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
    """Load a command for the help; if it cannot be loaded, its help says why."""
    try:
        function: Callable[..., None] = command.load()
    except (ImportError, AttributeError) as error:
        need = _need(command, error) if isinstance(error, ModuleNotFoundError) else None

        def function() -> None: ...

        function.__doc__ = need or f"cannot be loaded: {error}"
    return function


def _need(command: EntryPoint, error: ModuleNotFoundError) -> str | None:
    """Return which extra the command needs; None if the missing module is one of Cellwire's."""
    extras = (
        extra for part, extra in _EXTRAS.items() if f"{command.module}.".startswith(f"{part}.")
    )
    extra = next(extras, None)
    if extra is None or (error.name or "").partition(".")[0] == "cellwire":
        return None
    return f"needs the {extra} extra: pip install 'cellwire[{extra}]'"
