"""`cellwire score`."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.outcome import Misused, run
from cellwire.client.commands.output import show
from cellwire.client.commands.parameters import Escapes, Model, Target, Unknown
from cellwire.client.commands.prompt import append, text_of

_GREATEST_NATS = 700
"""The exponential of a greater number is no float."""


def score(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="The text to score; - reads stdin.")],
    *,
    prompt: Annotated[
        str,
        typer.Option(metavar="TEXT", help="What comes before the text.", show_default="nothing"),
    ] = "",
    escapes: Escapes = False,
    unknown: Unknown = "reject",
    model: Model = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Show how probable a text is for a model, in bits a symbol: the fewer, the better it fits.

    Without a prompt, the text's first symbol counts as given.

    For example:

        cellwire score "It is a truth universally acknowledged"
        cellwire score --model reviews - < chapter.txt
    """
    before = text_of(prompt, escapes=escapes)
    whole = text_of(text, escapes=escapes)
    if not whole:
        raise Misused("there is no text to score; give at least one character")

    async def measure() -> None:
        async with (
            connect(target) as daemon,
            daemon.session(model=model, unknown_symbols=unknown) as session,
        ):
            if before:
                await append(session, before)
            begin = session.offset
            log_probability = await append(session, whole)
            count = session.offset - begin - (0 if begin else 1)
            show(f"{_described(log_probability, count)}\n")

    run(measure(), target)


def _described(log_probability: float, count: int) -> str:
    if count < 1:
        return "no symbol is scored: the first one is given"
    nats = max(0.0, -log_probability / count)
    perplexity = math.exp(nats) if nats < _GREATEST_NATS else math.inf
    return (
        f"{nats / math.log(2):.4f} bits a symbol, perplexity {perplexity:.4g}, {count:,} symbols, "
        f"log-probability {log_probability:.3f}"
    )
