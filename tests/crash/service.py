"""The daemon that clients look for: where it listens now, and how its processes have ended."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Protocol


class Daemon(Protocol):
    """One daemon at a time, with one store for all of them."""

    async def start(self) -> str:
        """Start it; return its address."""

    async def kill(self) -> None:
        """End it at once, as SIGKILL does."""

    async def terminate(self) -> None:
        """Let it end by itself, as SIGTERM does."""

    async def pause(self, seconds: float) -> None:
        """Stop it for a while, as SIGSTOP does."""

    async def fill_disk(self, seconds: float) -> None:
        """Leave its store no room for a while."""

    async def kill_while_starting(self, after_s: float) -> None:
        """Start it, and kill it before it listens."""


@dataclass(frozen=True, slots=True)
class Place:
    """A process, and where it listens."""

    number: int
    address: str


class Service:
    """Tells clients where the daemon is, and whether its last process has saved everything."""

    def __init__(self, daemon: Daemon) -> None:
        self.daemon = daemon
        self.messages = 0  # that all clients have received
        self.saved: set[int] = set()  # the processes that have ended by themselves
        self._place: Place | None = None
        self._starts = 0
        self._changed = asyncio.Condition()

    async def ready(self) -> Place:
        """Wait until there is a daemon."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._place is not None)
            assert self._place is not None
            return self._place

    async def note_message(self) -> None:
        """Count a message, so that outages come in the middle of what clients do."""
        async with self._changed:
            self.messages += 1
            self._changed.notify_all()

    async def reach(self, messages: int) -> None:
        """Wait for so many messages."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.messages >= messages)

    async def start(self) -> None:
        address = await self.daemon.start()
        self._starts += 1
        async with self._changed:
            self._place = Place(self._starts, address)
            self._changed.notify_all()

    async def kill(self) -> None:
        self._place = None
        await self.daemon.kill()

    async def terminate(self) -> None:
        self._place = None
        await self.daemon.terminate()
        self.saved.add(self._starts)
