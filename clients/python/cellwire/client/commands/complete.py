"""`cellwire complete`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.parameters import Model, Prompt, Target, text_of
from cellwire.client.commands.terminal import on_one_line, run, show
from cellwire.client.options import CompletionEnd


def complete(
    *,
    prompt: Prompt = "\n",
    completions: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="How many to show.", show_default="the beam width"),
    ] = None,
    beam_width: Annotated[
        int, typer.Option(min=1, max=64, help="How many continuations the search follows at once.")
    ] = 5,
    max_tokens: Annotated[
        int, typer.Option(min=1, max=1024, help="The most tokens in a completion.")
    ] = 32,
    length_penalty: Annotated[
        float,
        typer.Option(min=0, max=10, help="0 ranks by the whole text's probability, 1 per token."),
    ] = 0.0,
    end: Annotated[CompletionEnd, typer.Option(help="Where a completion ends.")] = "length",
    scores: Annotated[
        bool, typer.Option("--scores", help="Show each completion's log-probability before it.")
    ] = False,
    model: Model = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Show the most probable continuations of a prompt, one a line, the best first.

    Backslashes and characters that are not printable are escaped as in Python's strings.
    """
    text = text_of(prompt)

    async def search() -> None:
        async with connect(target) as daemon:
            completed = await daemon.complete(
                text,
                beam_width=beam_width,
                completion_count=completions or beam_width,
                max_tokens=max_tokens,
                length_penalty=length_penalty,
                end=end,
                model=model,
            )
        for completion in completed.completions:
            score = f"{completion.log_probability:.3f}\t" if scores else ""
            show(f"{score}{on_one_line(completion.text)}\n")

    run(search(), target)
