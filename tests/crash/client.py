"""A client that survives losses by itself, with the stubs alone."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from random import Random

import grpc
from grpc import aio
from tests.crash.attaching import Return, resolve
from tests.crash.drawing import Act, Drawing
from tests.crash.entry import Entry
from tests.crash.ledger import Ledger
from tests.crash.operations import Fork, Save
from tests.crash.service import Place, Service
from tests.crash.stream import GUARD_S, Lost, Stream
from tests.crash.stub import Stub
from tests.crash.violation import Violation, check
from tests.crash.visit import Visit

from cellwire.v1.operations_pb2 import (
    DURABILITY_SAFE_FIRST,
    ON_DISCONNECT_CANCEL,
    OnDisconnect,
)

_FIRST_ID = 10  # below are the ids of opens, attaches and closes
_PAUSE_S = 0.02  # before another attempt
_LOST = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.OK)


@dataclass(frozen=True, slots=True)
class Setting:
    """How a session is opened."""

    window: int  # tokens that it can be rewound
    on_disconnect: OnDisconnect.ValueType


@dataclass(slots=True)
class Counts:
    """What all clients have done, for a summary."""

    sessions: int = 0
    operations: int = 0
    characters: int = 0
    attaches: int = 0
    sent_again: int = 0  # operations that a crash has undone, or that were never received
    lost_sessions: int = 0  # before anything was said to be safe


class Client:
    """Carries out operations in one session, whatever the daemon does meanwhile."""

    def __init__(
        self,
        ledger: Ledger,
        setting: Setting,
        service: Service,
        random: Random,
        counts: Counts,
        on_fork: Callable[[Client, Ledger], None],
        parent: Client | None = None,
    ) -> None:
        self.ledger = ledger
        self._ids: Iterator[int]
        self._reached: int
        self.budget = random.randint(5, 120)  # operations left
        self.setting = setting
        self._service = service
        self._random = random
        self._drawing = Drawing(random, setting.window)
        self._counts = counts
        self._forked = on_fork
        self._ids = parent._ids if parent else itertools.count(_FIRST_ID)
        self._reached = parent._reached if parent else 0  # the last process that has answered
        self._opened = parent is not None
        self._kept = False  # whether the whole text was compared after the last operation
        self._closing = False
        self.closed_in = 0  # the process that has told that the session is closed
        self._asides: dict[int, Entry | None] = {}
        self._place: Place | None = None
        self._met_s = 0.0  # when it was last heard of, by a monotonic clock
        self._visit: Visit

    @property
    def must_stay_closed(self) -> bool:
        """Whether the end of its session was told, and is safe."""
        first = self.ledger.durability == DURABILITY_SAFE_FIRST
        return self.closed_in > 0 and (first or self.closed_in in self._service.saved)

    async def run(self) -> bool:
        """Live until the session is closed; False if it was lost before it was safe."""
        while True:
            place = await self._service.ready()
            if place != self._place:
                self._place, self._met_s = place, time.monotonic()
            try:
                async with aio.insecure_channel(place.address) as channel:
                    stub = Stub(channel)
                    if await self._come(place, stub):
                        await self._walk(stub)
                    else:
                        return self._closing
            except Lost as lost:
                self._note_lost(lost, place)
                await asyncio.sleep(_PAUSE_S)

    def _note_lost(self, lost: Lost, place: Place) -> None:
        aborted = lost.code == grpc.StatusCode.ABORTED  # taken over, by ourselves
        check(aborted or lost.code in _LOST, f"a stream to process {place.number} ends: {lost}")
        waited_s = time.monotonic() - self._met_s
        check(
            waited_s < GUARD_S,
            f"process {place.number} lets nobody in for {waited_s:.0f} s: {lost}",
        )
        if self.setting.on_disconnect == ON_DISCONNECT_CANCEL:
            for entry in self.ledger.open:
                entry.cancelled = True

    async def _come(self, place: Place, stub: Stub) -> bool:
        """Open the session or attach to it; False if it is gone, and may be."""
        if not self._opened:
            await self._open(place, stub)
        elif not await self._attach(place, stub):
            return False
        return True

    async def _open(self, place: Place, stub: Stub) -> None:
        stream = Stream(stub)
        ledger, setting = self.ledger, self.setting
        try:
            response = await stream.open(
                session_id=ledger.session_id,
                seed=ledger.seed,
                durability=ledger.durability,
                rewind_window=setting.window,
                on_disconnect=setting.on_disconnect,
            )
        except Lost as lost:
            if lost.code == grpc.StatusCode.ALREADY_EXISTS:
                self._opened = True
            elif lost.code not in _LOST:
                raise Violation(f"open fails: {lost}") from lost
            raise Lost(grpc.StatusCode.UNAVAILABLE, "an open was lost") from lost
        self._opened, self._reached, self._met_s = True, place.number, time.monotonic()
        ledger.note_safety(response)
        ledger.created = ledger.created or ledger.durability == DURABILITY_SAFE_FIRST
        ledger.catching_up = True
        self._visit = self._new_visit(stream)
        await self._visit.catch_up(())

    def _new_visit(self, stream: Stream) -> Visit:
        return Visit(stream, self.ledger, self._service, self._ids, self._asides, self._fork)

    async def _attach(self, place: Place, stub: Stub) -> bool:
        stream = Stream(stub)
        restarted = place.number != self._reached
        saved = self._reached in self._service.saved
        offsets = (None, 0, self.ledger.common_offset)
        offset = 0 if self.budget <= 0 else self._random.choice(offsets)
        try:
            response = await stream.attach(
                session_id=self.ledger.session_id, offset=offset, takeover=True
            )
        except Lost as lost:
            if lost.code != grpc.StatusCode.NOT_FOUND:
                raise
            return self._gone(restarted, saved)
        if self._closing and self._visit.closed:
            first = self.ledger.durability == DURABILITY_SAFE_FIRST
            check(restarted and not saved and not first, "a session is back that was closed")
        self._counts.attaches += 1
        self._reached, self._met_s = place.number, time.monotonic()
        resolve(self.ledger, response, Return(offset, restarted, saved))
        self.ledger.note_safety(response)
        self.ledger.catching_up = True
        self._visit = self._new_visit(stream)
        await self._visit.catch_up(response.attached.operation_ids)
        self._counts.sent_again += sum(entry.again for entry in self.ledger.open)
        return True

    def _gone(self, restarted: bool, saved: bool) -> bool:  # noqa: FBT001
        """Take it that there is no session; whether to open it again."""
        if self._closing:
            if self._visit.closed:
                self.closed_in = self._reached
            return False
        how = "saved everything" if restarted else "keeps running"
        check(restarted and not saved, f"the session is gone, and its daemon {how}")
        self.ledger.lose_all()
        self._counts.lost_sessions += 1
        if self.ledger.inherited:
            return False
        self._opened = False
        raise Lost(grpc.StatusCode.UNAVAILABLE, "the session was lost")

    async def _walk(self, stub: Stub) -> None:
        """Carry out operations until the stream ends; Lost."""
        while self.budget > 0:
            await self._act(stub)
        await self._visit.drain()
        if not self._kept:
            await self._visit.add(Save())
            await self._visit.drain()
            self._kept = True
            await self._end(keep=True)
        self._closing = True
        await self._end(keep=False)

    async def _act(self, stub: Stub) -> None:
        match self._drawing.next(self.ledger):
            case Act.READ:
                await self._visit.take()
            case Act.CANCEL:
                await self._cancel()
            case Act.BREAK:
                self._visit.stream.cancel()
                raise Lost(grpc.StatusCode.CANCELLED, "broken by its client")
            case Act.HALF_CLOSE:
                await self._visit.stream.half_close()
                await self._read_to_end()
            case Act.CLOSE_AND_KEEP:
                await self._end(keep=True)
            case Act.TAKE_OVER:
                await self._take_over(stub)
            case operation:
                self.budget -= 1
                self._counts.operations += 1
                await self._visit.add(operation)

    async def _cancel(self) -> None:
        targets = [e for e in self.ledger.open if not e.again and not e.cancelled]
        if targets:
            await self._visit.cancel(self._random.choice(targets))

    async def _take_over(self, stub: Stub) -> None:
        """Attach from a second stream, and see the first one end."""
        first = self._visit.stream
        assert self._place is not None
        attached = await self._attach(self._place, stub)
        check(attached, "the session is gone when it is taken over")
        try:
            while True:
                await first.receive()
        except Lost as lost:
            codes = (*_LOST[:2], grpc.StatusCode.ABORTED)
            check(lost.code in codes, f"a stream that was taken over ends: {lost}")

    async def _end(self, *, keep: bool) -> None:
        """Close, and read to the end; always Lost."""
        await self._visit.ask_aside(close={"keep": keep})
        await self._read_to_end()

    async def _read_to_end(self) -> None:
        while True:
            await self._visit.take()

    def _fork(self, entry: Entry) -> None:
        """Tell of a copy, with what it has inherited."""
        ledger = self.ledger
        ancestors = ledger.entries[: ledger.entries.index(entry) + 1]
        operation = entry.operation
        assert isinstance(operation, Fork)
        copy = Ledger(
            operation.session_id,
            ledger.seed,
            ledger.durability,
            [replace(ancestor) for ancestor in ancestors],
            ledger.lineage,
        )
        copy.high = ledger.high
        copy.created = ledger.durability == DURABILITY_SAFE_FIRST
        self._forked(self, copy)
