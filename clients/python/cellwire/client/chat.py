"""`cellwire chat`: a person and a model write one text in turns."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from cellwire.client.errors import CellwireError, Unavailable
from cellwire.client.generation import Generation
from cellwire.client.session import Session
from cellwire.client.terminal import say, show


class Chat:
    """Turns in one session: a line is appended, then the model goes on from it.

    The model's text goes to stdout, everything else to stderr. Without a terminal the lines come
    from stdin, so a script can chat too.
    """

    def __init__(self, session: Session, max_chars: int, temperature: float, top_k: int) -> None:
        self._session = session
        self._max_chars = max_chars
        self._temperature = temperature
        self._top_k = top_k

    async def run(self) -> None:
        """Take turns until the input ends or /quit is typed."""
        # asyncio would hold a Ctrl-C back while a line is being read.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        self._greet()
        async for line in _lines():
            if line.strip() == "/quit":
                return
            try:
                await self._turn(line)
            except Unavailable:
                raise
            except CellwireError as error:
                say(str(error))

    async def _turn(self, line: str) -> None:
        if line:
            await self._session.append(line)
        generation = self._session.generate(
            max_chars=self._max_chars, temperature=self._temperature, top_k=self._top_k
        )
        with _cancelled_by_ctrl_c(generation):
            async for text in generation:
                show(text)
        show("\n")

    def _greet(self) -> None:
        model = self._session.model
        say(
            f"{model.name}, {model.layers} x {model.hidden} {model.cell}, "
            f"{len(model.vocabulary)} symbols, seed {self._session.seed}"
        )
        say("Enter: the model goes on from your line. Ctrl-C: stop it. Ctrl-D or /quit: leave.")


@contextmanager
def _cancelled_by_ctrl_c(generation: Generation) -> Iterator[None]:
    """Let Ctrl-C end the generation and not the program."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, generation.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _lines() -> AsyncIterator[str]:
    return _typed_lines() if sys.stdin.isatty() and sys.stdout.isatty() else _piped_lines()


async def _piped_lines() -> AsyncIterator[str]:
    # Between turns nothing else is going on, so reading may block.
    for line in sys.stdin:
        yield line.removesuffix("\n")


async def _typed_lines() -> AsyncIterator[str]:
    from prompt_toolkit import PromptSession

    prompt: PromptSession[str] = PromptSession("> ")
    while True:
        try:
            yield await prompt.prompt_async()
        except KeyboardInterrupt:
            continue  # the line is dropped, as in a shell
        except EOFError:
            return
