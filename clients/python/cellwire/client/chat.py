"""`cellwire chat`: a person and a model write one text in turns."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from cellwire.client.errors import Aborted, CellwireError, Unavailable
from cellwire.client.generation import Generation
from cellwire.client.options import GenerateOptions
from cellwire.client.session import Session
from cellwire.client.terminal import say, show


async def chat(session: Session, options: GenerateOptions) -> None:
    """Let a person write in turns with the model, until they leave.

    In a terminal they write into one text, each key an operation of the session. A model of words
    cannot be typed to like that: an append ends a word. It gets lines, as a script does.

    The text goes to stdout, everything else to stderr.
    """
    model = session.model
    say(
        f"{model.name}, {model.layers} x {model.hidden} {model.cell}, "
        f"{len(model.vocabulary)} symbols, seed {session.seed}"
    )
    if not _in_terminal():
        await _Turns(session, options).run(_piped_lines())
    elif model.vocabulary.kind == "words":
        await _Turns(session, options).run(_typed_lines())
    else:
        await _edit(session, options)


async def _edit(session: Session, options: GenerateOptions) -> None:
    from cellwire.client.editor import Editor
    from cellwire.client.screen import edit

    editor = Editor(session, options)
    try:
        await edit(editor)
    finally:
        # What was drawn is gone, and may have been only the end of it.
        show(f"{editor.text}\n")


class _Turns:
    """Turns in one session: a line is appended, then the model goes on from it."""

    def __init__(self, session: Session, options: GenerateOptions) -> None:
        self._session = session
        self._options = options

    async def run(self, lines: AsyncIterator[str]) -> None:
        """Take turns until the lines end or one is /quit."""
        # asyncio would hold a Ctrl-C back while a line is being read.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("Enter: the model goes on from your line. Ctrl-C: stop it. Ctrl-D or /quit: leave.")
        async for line in lines:
            if line.strip() == "/quit":
                return
            try:
                await self._turn(line)
            except (Unavailable, Aborted):
                raise
            except CellwireError as error:
                say(str(error))

    async def _turn(self, line: str) -> None:
        if line:
            await self._session.append(line)
        generation = self._session.generate(**self._options)
        with _cancelled_by_ctrl_c(generation):
            async for text in generation:
                show(text)
        show("\n")


@contextmanager
def _cancelled_by_ctrl_c(generation: Generation) -> Iterator[None]:
    """Let Ctrl-C end the generation and not the program."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, generation.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _in_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


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
