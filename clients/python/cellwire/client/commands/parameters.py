"""Parameters that several commands share."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from cellwire.client.commands.outcome import Misused
from cellwire.client.errors import InvalidArgument
from cellwire.client.wire import target as wire_target

TARGET_VARIABLE = "CELLWIRE_TARGET"


def _checked_target(target: str) -> str:
    try:
        wire_target.Target.of(target)
    except InvalidArgument as error:
        raise Misused(str(error)) from None
    return target


Target = Annotated[
    str,
    typer.Option(
        metavar="HOST:PORT",
        help="Where the daemon listens.",
        envvar=TARGET_VARIABLE,
        callback=_checked_target,
    ),
]
Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="The model; by default the daemon's default.")
]
Seed = Annotated[
    int | None,
    typer.Option(
        metavar="N", min=0, max=2**64 - 1, help="The same seed gives the same text again."
    ),
]
Prompt = Annotated[
    str,
    typer.Option(
        metavar="TEXT",
        help="The text to continue; - reads stdin.",
        show_default="a line feed, if the model reads one",
    ),
]
Escapes = Annotated[
    bool,
    typer.Option(
        "--escapes", "-e", help=r"Read \n, \t, \\, \xHH and \uHHHH in texts that are given."
    ),
]
Unknown = Annotated[
    Literal["reject", "skip", "replace"],
    typer.Option(
        help="What the model does not know: reject the text, leave that out, or replace it by the "
        "model's symbol for it."
    ),
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
