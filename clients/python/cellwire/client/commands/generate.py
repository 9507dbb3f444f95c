"""`cellwire generate`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.outcome import run
from cellwire.client.commands.output import show
from cellwire.client.commands.parameters import (
    Escapes,
    MaxTokens,
    Model,
    Prompt,
    Seed,
    Target,
    Temperature,
    TopK,
    Unknown,
)
from cellwire.client.commands.prompt import Prompt as Beginning
from cellwire.client.commands.prompt import prompted, stop_strings_of, text_of

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
    prompt: Prompt = "",
    max_tokens: MaxTokens = 200,
    temperature: Temperature = 0.8,
    top_k: TopK = 0,
    top_p: _TopP = 1.0,
    min_p: _MinP = 0.0,
    repetition_penalty: _RepetitionPenalty = 1.0,
    stop: _Stop = None,
    seed: Seed = None,
    escapes: Escapes = False,
    unknown: Unknown = "reject",
    model: Model = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    r"""Continue a prompt; only the new text is written to stdout, as it arrives.

    For example:

        cellwire generate --prompt "It is a truth " --max-tokens 300 --seed 7
        cellwire generate --prompt - < letter.txt
        cellwire generate -e --prompt "Dear " --stop "\n\n"
    """
    beginning = Beginning(text_of(prompt, escapes=escapes), model, seed, unknown)
    stop_strings = stop_strings_of(stop, escapes=escapes)

    async def write() -> None:
        async with connect(target) as daemon, prompted(daemon, beginning) as session:
            generation = session.generate(
                max_tokens=max_tokens,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                min_p=min_p,
                repetition_penalty=repetition_penalty,
                stop_strings=stop_strings,
            )
            async for piece in generation:
                show(piece)
        if sys.stdout.isatty():
            show("\n")

    run(write(), target)
