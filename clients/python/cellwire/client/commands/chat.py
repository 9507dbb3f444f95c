"""`cellwire chat`: a person and a model write one text in turns."""

from __future__ import annotations

import asyncio
import signal
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.parameters import MaxTokens, Model, Seed, Target, Temperature, TopK
from cellwire.client.commands.terminal import run, say, show
from cellwire.client.errors import Aborted, CellwireError, Unavailable
from cellwire.client.generation import Generation
from cellwire.client.options import GenerateOptions
from cellwire.client.session import Session

_MAX_REWIND_WINDOW = 1024
"""How many tokens of a chat can be taken back: the daemon's maximum."""


def chat(
    *,
    max_tokens: MaxTokens = 200,
    temperature: Temperature = 0.8,
    top_k: TopK = 0,
    seed: Seed = None,
    model: Model = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Write a text in turns with the model, in one session."""

    async def connect_and_converse() -> None:
        async with (
            connect(target) as daemon,
            daemon.session(model=model, seed=seed, rewind_window=_MAX_REWIND_WINDOW) as session,
        ):
            await converse(
                session, {"max_tokens": max_tokens, "temperature": temperature, "top_k": top_k}
            )

    run(connect_and_converse(), target)


async def converse(session: Session, options: GenerateOptions) -> None:
    """Let a person and the model write in turns, until the person leaves.

    In a terminal they edit one text, and each key is an operation of the session. With a model of
    words, and in scripts, they write lines instead: each append ends a word.

    The text goes to stdout, everything else to stderr.
    """
    model = session.model
    say(
        f"{model.name}, {model.layer_count} x {model.hidden_size} {model.cell_kind}, "
        f"{model.vocabulary.size} symbols, seed {session.seed}"
    )
    if not _in_terminal():
        await _Turns(session, options).run(_piped_lines())
    elif model.vocabulary.kind == "words":
        await _Turns(session, options).run(_typed_lines())
    else:
        await _edit(session, options)


async def _edit(session: Session, options: GenerateOptions) -> None:
    from cellwire.client.commands.editor import Editor
    from cellwire.client.commands.screen import edit

    editor = Editor(session, options)
    try:
        await edit(editor)
    finally:
        # The screen is erased, and may have shown only the end of the text.
        show(f"{editor.text}\n")


class _Turns:
    """Turns in one session: a line is appended, then the model continues it."""

    def __init__(self, session: Session, options: GenerateOptions) -> None:
        self._session = session
        self._options = options

    async def run(self, lines: AsyncIterator[str]) -> None:
        """Take turns until the lines end or one is /quit."""
        # asyncio's handler would delay Ctrl-C until the line has been read.
        signal.signal(signal.SIGINT, signal.default_int_handler)
        say("Enter: the model continues your line. Ctrl-C: stop it. Ctrl-D or /quit: leave.")
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
    """Let Ctrl-C end the generation instead of the program."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, generation.cancel)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


def _in_terminal() -> bool:
    return sys.stdin.isatty() and sys.stdout.isatty()


async def _piped_lines() -> AsyncIterator[str]:
    # Nothing else runs between turns, so reading may block.
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
