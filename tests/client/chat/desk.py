"""A person at a chat without a terminal: keys, and what would be shown."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from cellwire.client.commands.chat.editor import Editor
from cellwire.client.commands.chat.link import Link
from cellwire.client.commands.chat.worker import Worker

GUARD_S = 5


class Desk:
    """An editor with its worker."""

    def __init__(self, editor: Editor, worker: Worker) -> None:
        self.editor = editor
        self.worker = worker
        self._news = asyncio.Event()
        editor.changed = self._news.set

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until something is shown."""
        async with asyncio.timeout(GUARD_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def sees(self, text: str, suggestion: str | None = None) -> None:
        await self.until(
            lambda: (
                self.editor.buffer.text == text
                and not self.editor.generating
                and suggestion in {None, self.editor.suggestion}
            )
        )

    async def is_told(self, words: str) -> None:
        await self.until(lambda: words in self.editor.notice)

    @property
    def read(self) -> str:
        """What the session has read."""
        return self.worker.link.mirror.text


@asynccontextmanager
async def desk(
    target: str, model: str | None = None, *, max_tokens: int = 3, seed: int | None = None
) -> AsyncIterator[Desk]:
    link = Link(target, model, seed)
    await link.open()
    editor = Editor()
    worker = Worker(editor, link, {"max_tokens": max_tokens}, retry_delays_s=(0.0, 0.01))
    at = Desk(editor, worker)
    running = asyncio.create_task(worker.run())
    try:
        yield at
        editor.leave()
        await asyncio.wait_for(running, GUARD_S)
    finally:
        running.cancel()
        await asyncio.wait([running])
