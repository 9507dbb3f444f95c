"""`cellwire generate`, `complete`, `classify`, `models` and `chat`."""

from __future__ import annotations

import re
import sys
from typing import Annotated

import typer

from cellwire.client.client import DEFAULT_TARGET, Client, connect
from cellwire.client.options import CompletionEnd, UnknownSymbols
from cellwire.client.terminal import on_one_line, run, show

_REWIND_CHARS = 1024
"""How much of a chat can be taken back: all that a daemon allows."""

_Target = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the daemon listens.")]
_Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which model; without it the daemon's default.")
]
_Seed = Annotated[
    int | None, typer.Option(min=0, max=2**64 - 1, help="The same seed gives the same text again.")
]
_Prompt = Annotated[
    str, typer.Option(help="The text to go on from; - reads stdin.", show_default="a new line")
]
_Temperature = Annotated[
    float, typer.Option(min=0, max=100, help="Lower is safer, higher wilder; 0: the likeliest.")
]
_TopK = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Draw among so many likeliest symbols; 0: all.")
]
_TopP = Annotated[
    float,
    typer.Option(min=0, max=1, help="Draw among the likeliest that are together this likely."),
]
_MinP = Annotated[
    float, typer.Option(min=0, max=1, help="Leave out what is below this share of the likeliest.")
]
_RepetitionPenalty = Annotated[
    float, typer.Option(min=1, max=100, help="Above 1, what occurred lately gets unlikelier.")
]
_Stop = Annotated[
    list[str] | None, typer.Option(metavar="TEXT", help="Stop before this; may be repeated.")
]
_MaxChars = Annotated[int, typer.Option(min=1, max=1_000_000, help="How many characters to write.")]


def generate(
    *,
    prompt: _Prompt = "\n",
    max_chars: _MaxChars = 200,
    temperature: _Temperature = 0.8,
    top_k: _TopK = 0,
    top_p: _TopP = 1.0,
    min_p: _MinP = 0.0,
    repetition_penalty: _RepetitionPenalty = 1.0,
    stop: _Stop = None,
    seed: _Seed = None,
    model: _Model = None,
    target: _Target = DEFAULT_TARGET,
) -> None:
    """Write on from a prompt; only the new text goes to stdout, as it comes."""
    given = _given(prompt)

    async def write() -> None:
        async with connect(target) as daemon:
            text = daemon.generate(
                given,
                max_chars=max_chars,
                model=model,
                seed=seed,
                temperature=temperature,
                top_k=top_k,
                top_p=top_p,
                min_p=min_p,
                repetition_penalty=repetition_penalty,
                stop=stop or (),
            )
            async for piece in text:
                show(piece)
        if sys.stdout.isatty():
            show("\n")

    run(write(), target)


def complete(
    *,
    prompt: _Prompt = "\n",
    completions: Annotated[
        int | None,
        typer.Option(min=1, max=64, help="How many to show.", show_default="the beam's width"),
    ] = None,
    beam_width: Annotated[
        int, typer.Option(min=1, max=64, help="How many to follow at once; more find better ones.")
    ] = 5,
    max_chars: Annotated[int, typer.Option(min=1, max=1024, help="How long one may get.")] = 32,
    length_penalty: Annotated[
        float, typer.Option(min=0, max=10, help="0 ranks by the whole text, 1 by the character.")
    ] = 0.0,
    end: Annotated[CompletionEnd, typer.Option(help="Where one ends.")] = "chars",
    scores: Annotated[
        bool, typer.Option("--scores", help="Put each one's log-probability to its left.")
    ] = False,
    model: _Model = None,
    target: _Target = DEFAULT_TARGET,
) -> None:
    """Show the likeliest ways a prompt goes on, the best first, each on a line of its own.

    A backslash and what is not printable are shown as in Python's strings.
    """
    given = _given(prompt)

    async def search() -> None:
        async with connect(target) as daemon:
            completed = await daemon.complete(
                given,
                beam_width=beam_width,
                completions=completions or beam_width,
                max_chars=max_chars,
                length_penalty=length_penalty,
                end=end,
                model=model,
            )
        for completion in completed.completions:
            score = f"{completion.log_probability:.3f}\t" if scores else ""
            show(f"{score}{on_one_line(completion.text)}\n")

    run(search(), target)


def classify(
    text: Annotated[str, typer.Argument(help="What to read; - reads stdin.")],
    *,
    as_it_grows: Annotated[
        bool, typer.Option("--as-it-grows", help="Say it after every word, not only at the end.")
    ] = False,
    model: _Model = None,
    target: _Target = DEFAULT_TARGET,
) -> None:
    """Show what a model makes of a text: a score for each of its labels.

    What the model does not know is read as its unknown symbol, or left out if it has none.
    """
    given = _given(text)
    pieces = re.findall(r"\s*\S+", given) if as_it_grows and given.strip() else [given]

    async def tell() -> None:
        async with connect(target) as daemon:
            unknown = await _unknown(daemon, model)
            async with daemon.session(model=model, unknown_symbols=unknown) as session:
                for piece in pieces:
                    await session.append(piece)
                    scores = (await session.classify()).scores
                    told = "  ".join(f"{score.label} {score.score:.4f}" for score in scores)
                    show(f"{told}\t{on_one_line(piece.strip())}\n" if as_it_grows else f"{told}\n")

    run(tell(), target)


def models(*, target: _Target = DEFAULT_TARGET) -> None:
    """List the models that the daemon serves."""

    async def show() -> None:
        from rich.console import Console

        from cellwire.client.table import table_of

        async with connect(target) as daemon:
            Console().print(table_of(await daemon.models()))

    run(show(), target)


def chat(
    *,
    max_chars: _MaxChars = 200,
    temperature: _Temperature = 0.8,
    top_k: _TopK = 0,
    seed: _Seed = None,
    model: _Model = None,
    target: _Target = DEFAULT_TARGET,
) -> None:
    """Type, and the model completes and goes on; the session remembers."""
    from cellwire.client.chat import chat as talk_in

    async def talk() -> None:
        async with (
            connect(target) as daemon,
            daemon.session(model=model, seed=seed, rewind_window=_REWIND_CHARS) as session,
        ):
            await talk_in(
                session, {"max_chars": max_chars, "temperature": temperature, "top_k": top_k}
            )

    run(talk(), target)


async def _unknown(daemon: Client, model: str | None) -> UnknownSymbols:
    """Say what to do with symbols that a model, or the default, does not know."""
    for served in await daemon.models():
        if model in {None, served.name}:
            return "skip" if served.vocabulary.unknown is None else "replace"
    return "reject"  # as the daemon will reject the model


def _given(prompt: str) -> str:
    return sys.stdin.read().removesuffix("\n") if prompt == "-" else prompt
