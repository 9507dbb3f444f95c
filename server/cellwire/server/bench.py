"""`cellwire bench`: the benchmarks, which come with the source checkout only."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cellwire.server.errors import NoCuda

_CHECKOUT = Path(__file__).parents[3]
_FAILED = 1


def bench(
    names: Annotated[
        list[str] | None,
        typer.Argument(
            help="raw served keystroke idle slots alternatives prefill start growth int8 trainer, "
            "or all; and gpu, where there is one."
        ),
    ] = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
    out: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write the JSON to a file, too.")
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="A few minutes, and less steady figures.")
    ] = False,
) -> None:
    """Measure how fast Cellwire is on this machine."""
    if not (_CHECKOUT / "tests" / "bench").is_dir():
        _fail(
            "the benchmarks come with the source checkout; clone the repository and run "
            "`make bench` there"
        )
    sys.path.insert(0, str(_CHECKOUT))
    try:
        from tests.bench import cli

        cli.bench(names or [], quick=quick, as_json=as_json, out=out)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] in {"cellwire", "tests"}:
            raise
        _fail(f"{error.name} is missing: pip install torch==2.13.0; pip install -e '.[bench]'")
    except (ValueError, NoCuda) as error:
        _fail(str(error))


def _fail(why: str) -> None:
    typer.echo(f"cellwire bench: {why}", err=True)
    raise typer.Exit(_FAILED)
