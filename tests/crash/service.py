"""The daemons that clients look for: where they listen now, and how their processes have ended."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from random import Random
from typing import Protocol

_LINGERS_S = 3.0  # a daemon that wanted a session gives up after two leases


class Daemon(Protocol):
    """One process at a time, with one store for all of them."""

    async def start(self) -> str:
        """Start it; return its address."""

    async def kill(self) -> None:
        """End it at once, as SIGKILL does."""

    async def terminate(self) -> None:
        """Let it end by itself, as SIGTERM does."""

    async def pause(self, seconds: float) -> None:
        """Stop it for a while, as SIGSTOP does."""

    def freeze(self) -> None:
        """Stop it, as SIGSTOP does."""

    def go_on(self) -> None:
        """Let it go on, as SIGCONT does."""

    async def fill_disk(self, seconds: float) -> None:
        """Leave its store no room for a while."""

    async def kill_while_starting(self, after_s: float) -> None:
        """Start it, and kill it before it listens."""


class SharedStore(Protocol):
    """The store of several daemons."""

    async def pause(self, seconds: float) -> None:
        """Let it answer nobody for a while."""

    async def restart(self, after_s: float) -> None:
        """Kill it, and start it again after a while."""

    async def wait_for_leases(self, most: int) -> None:
        """Wait until no more than so many leases last."""


@dataclass(frozen=True, slots=True)
class Place:
    """A process, and where it listens."""

    number: int
    address: str


class Service:
    """Tells clients where the daemons are, and which processes have saved everything."""

    def __init__(self, *daemons: Daemon) -> None:
        self.daemons = daemons
        self.messages = 0  # that all clients have received
        self.outages = 0
        self.saved: set[int] = set()  # the processes that have ended by themselves
        self._lapses = Counter[int]()  # by process: how often others may have taken its sessions
        self._lapsed_s: dict[int, float] = {}  # when that was, by a monotonic clock
        self.on_freeze: set[Callable[[Place], None]] = set()
        self._places: dict[int, Place] = {}  # by the daemon's number: where clients may go
        self._running: dict[int, Place] = {}
        self._starts = 0
        self._changed = asyncio.Condition()

    @property
    def daemon(self) -> Daemon:
        """The first daemon."""
        return self.daemons[0]

    async def ready(self, random: Random | None = None) -> Place:
        """Wait until there is a daemon; return one of them."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._places)
            places = list(self._places.values())
            return random.choice(places) if random and len(places) > 1 else places[0]

    def any_of(self, place: Place, random: Random) -> Place:
        """Return one of several daemons; of one alone, `place`, even if it is gone."""
        places = list(self._places.values())
        return random.choice(places) if places and len(self.daemons) > 1 else place

    def runs(self, process: int) -> bool:
        return any(place.number == process for place in self._running.values())

    async def note_message(self) -> None:
        """Count a message, so that outages come in the middle of what clients do."""
        async with self._changed:
            self.messages += 1
            self._changed.notify_all()

    async def reach(self, messages: int) -> None:
        """Wait for so many messages."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.messages >= messages)

    async def start(self, number: int = 0) -> None:
        address = await self.daemons[number].start()
        self._starts += 1
        place = self._running[number] = Place(self._starts, address)
        await self._let_in(number, place)

    async def kill(self, number: int = 0) -> None:
        self._leave(number)
        del self._running[number]
        await self.daemons[number].kill()

    async def terminate(self, number: int = 0) -> None:
        self._leave(number)
        place = self._running[number]
        await self.daemons[number].terminate()
        self.saved.add(place.number)
        del self._running[number]

    def freeze(self, number: int) -> None:
        """Stop a daemon for longer than its lease, and tell clients, of which some go elsewhere."""
        place = self._running[number]
        self._leave(number)
        self._note_lapse(place)
        self.daemons[number].freeze()
        for note in list(self.on_freeze):
            note(place)

    async def go_on(self, number: int) -> None:
        place = self._running[number]
        self.daemons[number].go_on()
        self._note_lapse(place)  # also for who was answered as it stopped
        await self._let_in(number, place)

    def note_lapse(self) -> None:
        """Note that the leases of all that run may have ended, or may be about to."""
        self.outages += 1
        for place in self._running.values():
            self._note_lapse(place)

    def _note_lapse(self, place: Place) -> None:
        self._lapses[place.number] += 1
        self._lapsed_s[place.number] = time.monotonic()

    def lapses(self, process: int) -> int:
        """Return how often others may have taken sessions of a process."""
        return self._lapses[process]

    def ended_lapses(self, process: int) -> int:
        """Return the same without one whose consequences may be still to come."""
        recent = time.monotonic() - self._lapsed_s.get(process, -_LINGERS_S) < _LINGERS_S
        return self._lapses[process] - recent

    def _leave(self, number: int) -> None:
        self.outages += 1
        self._places.pop(number, None)

    async def _let_in(self, number: int, place: Place) -> None:
        async with self._changed:
            self._places[number] = place
            self._changed.notify_all()
