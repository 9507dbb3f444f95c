"""Parameters that several commands share."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

Target = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the daemon listens.")]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="The model; by default the daemon's default.")
]
Seed = Annotated[
    int | None, typer.Option(min=0, max=2**64 - 1, help="The same seed gives the same text again.")
]
Prompt = Annotated[
    str, typer.Option(help="The text to continue; - reads stdin.", show_default="a new line")
]
Temperature = Annotated[
    float,
    typer.Option(min=0, max=100, help="Below 1 more predictable, above 1 less; 0: no sampling."),
]
TopK = Annotated[
    int,
    typer.Option(min=0, max=2**32 - 1, help="Draw among this many most probable symbols; 0: all."),
]
MaxTokens = Annotated[int, typer.Option(min=1, max=1_000_000, help="How many tokens to generate.")]


def text_of(argument: str) -> str:
    """Return an argument, or stdin's text if it is "-"."""
    return sys.stdin.read().removesuffix("\n") if argument == "-" else argument
