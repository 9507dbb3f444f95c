"""`cellwire classify`."""

from __future__ import annotations

import re
from typing import Annotated, Literal

import typer

from cellwire.client.client import DEFAULT_TARGET, Client, connect
from cellwire.client.commands.outcome import run
from cellwire.client.commands.output import on_one_line, show
from cellwire.client.commands.parameters import Escapes, Model, Target
from cellwire.client.commands.prompt import append, text_of
from cellwire.client.options import UnknownSymbols

_Text = Annotated[str, typer.Argument(metavar="TEXT", help="The text to classify; - reads stdin.")]
_AsItGrows = Annotated[
    bool, typer.Option("--as-it-grows", help="Show the scores after every word.")
]
_Unknown = Annotated[
    Literal["auto", "reject", "skip", "replace"],
    typer.Option(
        help="What the model does not know: auto replaces it by the model's symbol for it, or "
        "leaves it out if there is none."
    ),
]


def classify(
    text: _Text,
    *,
    as_it_grows: _AsItGrows = False,
    escapes: Escapes = False,
    unknown: _Unknown = "auto",
    model: Model = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Show the scores of a model's labels for a text.

    For example:

        cellwire classify --model reviews "Not a bad film at all."
        cellwire classify --model reviews --as-it-grows - < review.txt
    """
    whole = text_of(text, escapes=escapes)
    parts = re.findall(r"\s*\S+", whole) if as_it_grows and whole.strip() else [whole]

    async def show_scores() -> None:
        async with connect(target) as daemon:
            handling = await _unknown_symbols(daemon, model) if unknown == "auto" else unknown
            async with daemon.session(model=model, unknown_symbols=handling) as session:
                for part in parts:
                    await append(session, part)
                    scores = (await session.classify()).scores
                    line = "  ".join(
                        f"{on_one_line(score.label)} {score.score:.4f}" for score in scores
                    )
                    show(f"{line}\t{on_one_line(part.strip())}\n" if as_it_grows else f"{line}\n")

    run(show_scores(), target)


async def _unknown_symbols(daemon: Client, name: str | None) -> UnknownSymbols:
    """Return how to handle unknown symbols with a model, or with the default model."""
    model = await daemon.model(name)
    return "skip" if model.vocabulary.unknown_symbol is None else "replace"
