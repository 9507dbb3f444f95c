"""`cellwire complete`."""

from __future__ import annotations

from typing import Annotated

import typer

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.outcome import Misused, run
from cellwire.client.commands.output import on_one_line, show
from cellwire.client.commands.parameters import Escapes, Model, Prompt, Target, Unknown
from cellwire.client.commands.prompt import Prompt as Beginning
from cellwire.client.commands.prompt import prompted, text_of
from cellwire.client.options import CompletionEnd

_DEFAULT_BEAM_WIDTH = 5

_Completions = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="How many to show, at most the beam width.",
        show_default="the beam width",
    ),
]
_BeamWidth = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=64,
        help="How many continuations the search follows at once.",
        show_default="5, or --completions if that is more",
    ),
]
_MaxTokens = Annotated[int, typer.Option(min=1, max=1024, help="The most tokens in a completion.")]
_LengthPenalty = Annotated[
    float, typer.Option(min=0, max=10, help="0 ranks by the whole text's probability, 1 per token.")
]
_End = Annotated[CompletionEnd, typer.Option(help="Where a completion ends.")]
_Scores = Annotated[
    bool, typer.Option("--scores", help="Show each completion's log-probability before it.")
]


def complete(
    *,
    prompt: Prompt = "",
    completions: _Completions = None,
    beam_width: _BeamWidth = None,
    max_tokens: _MaxTokens = 32,
    length_penalty: _LengthPenalty = 0.0,
    end: _End = "length",
    scores: _Scores = False,
    escapes: Escapes = False,
    unknown: Unknown = "reject",
    model: Model = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Show the most probable continuations of a prompt, one a line, the best first.

    Backslashes and characters that are not printable are escaped as in Python's strings; --escapes
    reads them again.

    For example:

        cellwire complete --prompt "It is a truth univ" --end word
        cellwire complete --prompt "She was " --completions 9 --scores
    """
    width = beam_width or max(_DEFAULT_BEAM_WIDTH, completions or 0)
    if completions is not None and completions > width:
        raise Misused(
            f"--completions {completions} is more than --beam-width {width}: a search finds at "
            f"most as many as it follows; give --beam-width {completions}, or leave it out"
        )
    beginning = Beginning(text_of(prompt, escapes=escapes), model, None, unknown)

    async def search() -> None:
        async with connect(target) as daemon, prompted(daemon, beginning) as session:
            completed = await session.complete(
                beam_width=width,
                completion_count=completions or width,
                max_tokens=max_tokens,
                length_penalty=length_penalty,
                end=end,
            )
        for completion in completed.completions:
            score = f"{completion.log_probability:.3f}\t" if scores else ""
            show(f"{score}{on_one_line(completion.text)}\n")

    run(search(), target)
