"""The commands of the `cellwire` script, and their help.

Each part of Cellwire registers its commands as entry points of the group `cellwire.commands`: a
name, and a function for typer, or a Typer of several commands. Only the command in the arguments is
loaded; the help, and a shell that completes a word, load all.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points, version
from typing import Annotated

import typer
from rich.markup import escape
from typer.exceptions import TyperException

from cellwire.client.commands.outcome import FAILED, Misused
from cellwire.client.commands.output import show

GROUP = "cellwire.commands"

# The extra that installs a package's dependencies, and what to install.
_EXTRAS = {"cellwire.server": "server", "cellwire.exporter": "train", "cellwire.client": "cli"}
_ALTERNATIVES = {
    "server": ", or 'cellwire[cpu]', which is smaller and knows no GPU",
    "train": ", or 'cellwire[cpu,training]' where 'cellwire[cpu]' is installed",
}

# The groups of the help, in its order.
_PANELS = {
    "Text": ("generate", "complete", "chat", "score", "classify"),
    "The daemon": ("serve", "models", "load", "unload", "sessions", "top"),
    "Training": ("train", "export", "recipes", "embed"),
}
_OTHERS = "Others"
_PANEL_OF = {name: panel for panel, names in _PANELS.items() for name in names}
_ORDER = {name: place for place, name in enumerate(_PANEL_OF)}

_Command = Callable[..., None] | typer.Typer


def run_app(arguments: Sequence[str]) -> int:
    """Run the command line; return its exit status. Misused if it is wrong."""
    commands = {command.name: command for command in entry_points(group=GROUP)}
    command = commands.get(arguments[0]) if arguments else None
    if command is None or "_CELLWIRE_COMPLETE" in os.environ:
        ordered = sorted(commands.values(), key=lambda one: _ORDER.get(one.name, len(_ORDER)))
        return _run(_app(ordered, _load_to_list), arguments or ["--help"])
    try:
        return _run(_app([command], EntryPoint.load), arguments)
    except ModuleNotFoundError as error:
        need = _need(command, error)
        if need is None:
            raise
        raise Misused(f"{command.name} {need}") from None


def _run(app: typer.Typer, arguments: Sequence[str]) -> int:
    try:
        status = app(args=list(arguments), prog_name="cellwire", standalone_mode=False)
    except TyperException as error:
        context = getattr(error, "ctx", None)
        path = context.command_path if context else "cellwire"
        message = error.format_message().rstrip(".")
        raise Misused(f"{message}; {path} --help shows what there is") from None
    except typer.Abort:
        return FAILED
    return status if isinstance(status, int) else 0


def _app(commands: Iterable[EntryPoint], load: Callable[[EntryPoint], _Command]) -> typer.Typer:
    app = typer.Typer(
        pretty_exceptions_enable=False, context_settings={"help_option_names": ["-h", "--help"]}
    )
    app.callback(invoke_without_command=True)(_cellwire)
    for command in commands:
        loaded = load(command)
        panel = _PANEL_OF.get(command.name, _OTHERS)
        if isinstance(loaded, typer.Typer):
            app.add_typer(loaded, name=command.name, rich_help_panel=panel)
        else:
            app.command(command.name, rich_help_panel=panel)(loaded)
    return app


def _cellwire(
    *,
    show_version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.")
    ] = False,
) -> None:
    """Recurrent language models, served as live streams.

    For example:

        cellwire serve                      # in one terminal: the built-in model
        cellwire chat                       # in another: write with it
        cellwire generate --prompt "It is a truth "
        cellwire train mytext.txt --out runs/mytext
    """
    if show_version:
        show(f"{version('cellwire')}\n")
        raise typer.Exit


def _load_to_list(command: EntryPoint) -> _Command:
    """Load a command for the help; if it cannot be loaded, its help says why."""
    try:
        loaded: _Command = command.load()
    except (ImportError, AttributeError) as error:
        need = _need(command, error) if isinstance(error, ModuleNotFoundError) else None

        def function() -> None: ...

        function.__doc__ = escape(need or f"cannot be loaded: {error}")
        return function
    return loaded


def _need(command: EntryPoint, error: ModuleNotFoundError) -> str | None:
    """Return which extra the command needs; None if the missing module is one of Cellwire's."""
    extras = (
        extra for part, extra in _EXTRAS.items() if f"{command.module}.".startswith(f"{part}.")
    )
    extra = next(extras, None)
    if extra is None or (error.name or "").partition(".")[0] == "cellwire":
        return None
    also = _ALTERNATIVES.get(extra, "")
    return f"needs the {extra} extra: pip install 'cellwire[{extra}]'{also}"
