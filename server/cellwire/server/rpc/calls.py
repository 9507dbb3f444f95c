"""The calls that are under way: counted, bounded, and cut when the daemon stops."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from cellwire.server.errors import ResourceExhausted
from cellwire.server.rpc.places import Places

MAX_RECEIVING = 16
"""How many requests of one connection are received at a time: each may have 16 MiB."""


class Calls:
    """The tasks that serve calls. Used in the event loop only."""

    def __init__(self, most: int) -> None:
        self.were_cut = False
        self._most = most
        self._tasks: set[asyncio.Task[Any]] = set()
        self.receiving = Places(MAX_RECEIVING)
        """For requests: gRPC holds one in memory from its first byte on."""

    def __len__(self) -> int:
        return len(self._tasks)

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Count the call that the current task serves; ResourceExhausted if there are too many."""
        if len(self._tasks) >= self._most:
            raise ResourceExhausted(
                f"{len(self._tasks):,} calls are under way, and {self._most:,} are the most; "
                "wait for some to end, then try again"
            )
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            yield
        finally:
            self._tasks.discard(task)

    async def end(self, within_s: float) -> None:
        """Let calls come to their ends, then cut those that are left."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=within_s)
        self.were_cut = True
        for task in self._tasks:
            task.cancel()
