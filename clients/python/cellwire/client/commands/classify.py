"""`cellwire classify`."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from cellwire.client.client import DEFAULT_TARGET, Client, connect
from cellwire.client.commands.parameters import Model, Target, text_of
from cellwire.client.commands.terminal import on_one_line, run, show
from cellwire.client.options import UnknownSymbols


def classify(
    text: Annotated[str, typer.Argument(help="The text to classify; - reads stdin.")],
    *,
    as_it_grows: Annotated[
        bool, typer.Option("--as-it-grows", help="Show the scores after every word.")
    ] = False,
    model: Model = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Show the scores of a model's labels for a text.

    Unknown symbols are replaced by the model's symbol for them, or left out if it has none.
    """
    whole = text_of(text)
    parts = re.findall(r"\s*\S+", whole) if as_it_grows and whole.strip() else [whole]

    async def show_scores() -> None:
        async with connect(target) as daemon:
            unknown = await _unknown_symbols(daemon, model)
            async with daemon.session(model=model, unknown_symbols=unknown) as session:
                for part in parts:
                    await session.append(part)
                    scores = (await session.classify()).scores
                    line = "  ".join(f"{score.label} {score.score:.4f}" for score in scores)
                    show(f"{line}\t{on_one_line(part.strip())}\n" if as_it_grows else f"{line}\n")

    run(show_scores(), target)


async def _unknown_symbols(daemon: Client, name: str | None) -> UnknownSymbols:
    """Return how to handle unknown symbols with a model, or with the default model."""
    model = await daemon.model(name)
    return "skip" if model.vocabulary.unknown_symbol is None else "replace"
