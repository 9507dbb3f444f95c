"""`cellwire generate`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.parameters import (
    MaxTokens,
    Model,
    Prompt,
    Seed,
    Target,
    Temperature,
    TopK,
    text_of,
)
from cellwire.client.commands.terminal import run, show

_TopP = Annotated[
    float,
    typer.Option(min=0, max=1, help="Draw among the symbols that together reach this probability."),
]
_MinP = Annotated[
    float,
    typer.Option(min=0, max=1, help="Exclude symbols below this share of the best probability."),
]
_RepetitionPenalty = Annotated[
    float, typer.Option(min=1, max=100, help="Above 1, recent symbols get less probable.")
]
_Stop = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="Stop before this text; repeatable.")
]


def generate(
    *,
    prompt: Prompt = "\n",
    max_tokens: MaxTokens = 200,
    temperature: Temperature = 0.8,
    top_k: TopK = 0,
    top_p: _TopP = 1.0,
    min_p: _MinP = 0.0,
    repetition_penalty: _RepetitionPenalty = 1.0,
    stop: _Stop = None,
    seed: Seed = None,
    model: Model = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Continue a prompt; only the new text is written to stdout, as it arrives."""
    text = text_of(prompt)

    async def write() -> None:
        async with connect(target) as daemon:
            generation = daemon.generate(
                text,
                max_tokens=max_tokens,
                model=model,
                seed=seed,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                min_p=min_p,
                repetition_penalty=repetition_penalty,
                stop_strings=stop or (),
            )
            async for piece in generation:
                show(piece)
        if sys.stdout.isatty():
            show("\n")

    run(write(), target)
