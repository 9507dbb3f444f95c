"""`python -m tests.bench NAMES`: measure how fast Cellwire is on this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from cellwire.server.errors import NoCuda

_FAILED = 1


def main(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="raw served mixed keystroke idle slots alternatives prefill start durable "
            "scale growth int8 trainer, or all (the default); gpu by name only."
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the JSON to a file as well.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few minutes, and less steady figures.")
    ] = False,
) -> None:
    """Measure how fast Cellwire is on this machine."""
    try:
        from tests.bench import cli

        cli.bench(names or [], quick=quick, as_json=as_json, out=out)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"cellwire", "tests"}:
            raise
        _fail(f"{error.name} is missing: pip install torch==2.13.0; pip install -e '.[bench]'")
    except (ValueError, NoCuda) as error:
        _fail(str(error))


def _fail(reason: str) -> None:
    typer.echo(f"tests.bench: {reason}", err=True)
    raise typer.Exit(_FAILED)


if __name__ == "__main__":
    typer.run(main)
