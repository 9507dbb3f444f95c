"""Commands of the exporter as a user calls them."""

from __future__ import annotations

from pathlib import Path

import typer
from typer.testing import CliRunner, Result

from cellwire.exporter.commands.embed import embed
from cellwire.exporter.commands.export import export

_APP = typer.Typer()
_APP.command()(embed)
_APP.command()(export)


def cellwire(*arguments: str | Path, answer: str = "") -> Result:
    """Run a command; `answer` is what the user types."""
    return CliRunner().invoke(_APP, [str(argument) for argument in arguments], input=answer)


def refusal(result: Result) -> str:
    """Return the one line a refused command prints."""
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert line.startswith("cellwire: ")
    return line
