"""A chat without a terminal: lines are appended, and the model continues each."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from cellwire.client.commands.output import say, show
from cellwire.client.errors import Aborted, CellwireError, Unavailable
from cellwire.client.generation import Generation
from cellwire.client.options import GenerateOptions
from cellwire.client.session import Session


async def take_turns(session: Session, options: GenerateOptions) -> None:
    """Take turns until the lines of stdin end, or one is /quit.

    The text goes to stdout, everything else to stderr.
    """
    # asyncio's handler would delay Ctrl-C until the line has been read.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    model = session.model
    say(
        f"{model.name}, {model.layer_count} x {model.hidden_size} {model.cell_kind}, "
        f"{model.vocabulary.size} symbols, seed {session.seed}"
    )
    say("Enter: the model continues your line. Ctrl-C: stop it. Ctrl-D or /quit: leave.")
    # Nothing else runs between turns, so reading may block.
    for line in sys.stdin:
        text = line.removesuffix("\n")
        if text.strip() == "/quit":
            return
        try:
            await _turn(session, text, options)
        except (Unavailable, Aborted):
            raise
        except CellwireError as error:
            say(str(error))


async def _turn(session: Session, text: str, options: GenerateOptions) -> None:
    if text:
        await session.append(text)
    if not session.model.generates:
        if session.offset:
            scores = (await session.classify()).scores
            show("  ".join(f"{one.label} {one.score:.4f}" for one in scores) + "\n")
        return
    generation = session.generate(**options)
    with _cancelled_by_ctrl_c(generation):
        async for piece in generation:
            show(piece)
    show("\n")


@contextmanager
def _cancelled_by_ctrl_c(generation: Generation) -> Iterator[None]:
    """Let Ctrl-C end the generation instead of the program."""
    loop = asyncio.get_running_loop()

    def cancel(_signal: int, _frame: FrameType | None) -> None:
        loop.call_soon_threadsafe(generation.cancel)

    before = signal.signal(signal.SIGINT, cancel)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
