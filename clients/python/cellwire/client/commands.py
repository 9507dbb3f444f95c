"""`cellwire generate`, `cellwire models` and `cellwire chat`."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.terminal import run, show

_Target = Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the daemon listens.")]
_Model = Annotated[
    str | None, typer.Option(metavar="NAME", help="Which model; without it the daemon's default.")
]
_Seed = Annotated[
    int | None, typer.Option(min=0, max=2**64 - 1, help="The same seed gives the same text again.")
]
_Temperature = Annotated[
    float, typer.Option(min=0, max=100, help="Lower is safer, higher wilder; 0: the likeliest.")
]
_TopK = Annotated[
    int, typer.Option(min=0, max=2**32 - 1, help="Draw among so many likeliest symbols; 0: all.")
]
_MaxChars = Annotated[int, typer.Option(min=1, max=1_000_000, help="How many characters to write.")]


def generate(
    *,
    prompt: Annotated[
        str, typer.Option(help="The text to go on from; - reads stdin.", show_default="a new line")
    ] = "\n",
    max_chars: _MaxChars = 200,
    temperature: _Temperature = 0.8,
    top_k: _TopK = 0,
    seed: _Seed = None,
    model: _Model = None,
    target: _Target = DEFAULT_TARGET,
) -> None:
    """Write on from a prompt; only the new text goes to stdout, as it comes."""
    if prompt == "-":
        prompt = sys.stdin.read().removesuffix("\n")

    async def write() -> None:
        async with connect(target) as daemon:
            text = daemon.generate(
                prompt,
                max_chars=max_chars,
                model=model,
                seed=seed,
                temperature=temperature,
                top_k=top_k,
            )
            async for piece in text:
                show(piece)
        if sys.stdout.isatty():
            show("\n")

    run(write(), target)


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
    """Type, and the model goes on from it; the session remembers."""
    from cellwire.client.chat import Chat

    async def talk() -> None:
        async with connect(target) as daemon, daemon.session(model=model, seed=seed) as session:
            await Chat(session, max_chars, temperature, top_k).run()

    run(talk(), target)
