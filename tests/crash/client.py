"""A client that survives losses by itself, with the stubs alone."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from random import Random

import grpc
from grpc import aio
from tests.crash.attaching import Return, resolve
from tests.crash.drawing import Act, Drawing
from tests.crash.entry import Entry
from tests.crash.ledger import Ledger
from tests.crash.operations import Checkpoint, Fork, Restore, Save
from tests.crash.service import Place, Service
from tests.crash.stream import GUARD_S, Lost, Stream
from tests.crash.stub import Stub
from tests.crash.violation import Violation, check
from tests.crash.visit import Visit
from tests.crash.whereabouts import Move, Whereabouts

from cellwire.v1.operations_pb2 import (
    DURABILITY_SAFE_FIRST,
    ON_DISCONNECT_CANCEL,
    OnDisconnect,
)

_FIRST_ID = 10  # below are the ids of opens, attaches and closes
_PAUSE_S = 0.02  # before another attempt
_LEAVES = 0.7  # how likely a client leaves a daemon that has stopped
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
    moves: int = 0  # from one daemon that runs to another
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
        self.budget = random.randint(5, 120)  # operations left
        self.setting = setting
        self._service = service
        self._random = random
        self._drawing = Drawing(random, setting.window)
        self._counts = counts
        self._forked = on_fork
        self._ids = parent._ids if parent else itertools.count(_FIRST_ID)
        self._where = Whereabouts(service, parent.reached if parent else 0)
        self._opened = parent is not None
        self._kept = False  # whether the whole text was compared after the last operation
        self._closing = False
        self.closed_in = 0  # the process that has told that the session is closed
        self._asides: dict[int, Entry | None] = {}
        self._place: Place | None = None  # where it is, or wants to be
        self._outages = -1  # when it was let in, or began to wait
        self._met_s = 0.0  # the same by a monotonic clock
        self._channels: AsyncExitStack
        self._stubs: dict[str, Stub] = {}  # by address, of this attempt
        self._stream: Stream | None = None
        self._visit: Visit

    @property
    def reached(self) -> int:
        """The last process that has answered."""
        return self._where.reached

    @property
    def must_stay_closed(self) -> bool:
        """Whether the end of its session was told, and is safe."""
        first = self.ledger.durability == DURABILITY_SAFE_FIRST
        return self.closed_in > 0 and (first or self.closed_in in self._service.saved)

    async def run(self) -> bool:
        """Live until the session is closed; False if it was lost before it was safe."""
        self._service.on_freeze.add(self._note_freeze)
        try:
            while True:
                place = await self._service.ready(self._random)
                self._note_wait()
                self._stubs.clear()
                try:
                    async with AsyncExitStack() as self._channels:
                        if not await self._come(place):
                            return self._closing
                        await self._walk()
                except Lost as lost:
                    self._note_lost(lost, place)
                    await asyncio.sleep(_PAUSE_S)
        finally:
            self._service.on_freeze.discard(self._note_freeze)

    def _note_wait(self) -> None:
        if self._outages != self._service.outages:
            self._outages, self._met_s = self._service.outages, time.monotonic()

    def _note_freeze(self, place: Place) -> None:
        """Leave a daemon that has stopped, or wait until it goes on."""
        if place == self._place and self._stream is not None and self._random.random() < _LEAVES:
            self._stream.cancel()

    async def _stub_of(self, place: Place) -> Stub:
        if place.address not in self._stubs:
            channel = aio.insecure_channel(place.address)
            self._stubs[place.address] = Stub(await self._channels.enter_async_context(channel))
        return self._stubs[place.address]

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

    async def _come(self, place: Place) -> bool:
        """Open the session or attach to it; False if it is gone, and may be."""
        if not self._opened:
            await self._open(place)
        elif not await self._attach(place):
            return False
        return True

    async def _open(self, place: Place) -> None:
        stream = await self._begin(place)
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
        self._opened, self._met_s = True, time.monotonic()
        self._where.arrive(place)
        ledger.note_safety(response)
        ledger.created = ledger.created or ledger.durability == DURABILITY_SAFE_FIRST
        ledger.catching_up = True
        self._visit = self._new_visit(stream)
        await self._visit.catch_up(())

    async def _begin(self, place: Place) -> Stream:
        """Begin a stream, which may bring the session to this place."""
        stream = self._stream = Stream(await self._stub_of(place))
        self._place = place
        self._where.ask(place)
        return stream

    def _new_visit(self, stream: Stream) -> Visit:
        return Visit(stream, self.ledger, self._service, self._ids, self._asides, self._fork)

    async def _attach(self, place: Place) -> bool:
        stream = await self._begin(place)
        offsets = (None, 0, self.ledger.common_offset)
        offset = 0 if self.budget <= 0 else self._random.choice(offsets)
        try:
            response = await stream.attach(
                session_id=self.ledger.session_id, offset=offset, takeover=True
            )
        except Lost as lost:
            if lost.code != grpc.StatusCode.NOT_FOUND:
                raise
            return self._gone(self._where.move_to(place))
        move = self._where.move_to(place)
        if self._closing and self._visit.closed:
            first = self.ledger.durability == DURABILITY_SAFE_FIRST
            may_be = move.restarted and not move.saved and not first
            check(may_be, "a session is back that was closed")
        self._counts.attaches += 1
        self._counts.moves += move.sure and self._service.runs(self.reached)
        self._where.arrive(place)
        self._met_s = time.monotonic()
        resolve(self.ledger, response, Return(offset, move))
        self.ledger.note_safety(response)
        self.ledger.catching_up = True
        self._visit = self._new_visit(stream)
        await self._visit.catch_up(response.attached.operation_ids)
        self._counts.sent_again += sum(entry.again for entry in self.ledger.open)
        return True

    def _gone(self, move: Move) -> bool:
        """Take it that there is no session; whether to open it again."""
        if self._closing:
            if self._visit.closed:
                self.closed_in = self.reached
            return False
        if move.saved and not self.ledger.created:
            # Another daemon finds it as soon as it is in the store.
            raise Lost(grpc.StatusCode.UNAVAILABLE, "the session is not in the store yet")
        how = "saved everything" if move.restarted else "keeps running"
        check(move.restarted and not move.saved, f"the session is gone, and its daemon {how}")
        self.ledger.lose_all()
        self._counts.lost_sessions += 1
        if self.ledger.inherited:
            return False
        self._opened = False
        raise Lost(grpc.StatusCode.UNAVAILABLE, "the session was lost")

    async def _walk(self) -> None:
        """Carry out operations until the stream ends; Lost."""
        while self.budget > 0:
            await self._act()
        await self._visit.drain()
        if not self._kept:
            await self._visit.add(Save())
            await self._visit.drain()
            self._kept = True
            await self._end(keep=True)
        self._closing = True
        await self._end(keep=False)

    async def _act(self) -> None:
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
                await self._take_over()
            case operation:
                self.budget -= 1
                self._counts.operations += 1
                await self._visit.add(operation)

    async def _cancel(self) -> None:
        kinds = Checkpoint, Restore  # what comes behind them relies on them
        targets = [
            entry
            for entry in self.ledger.open
            if not (entry.again or entry.cancelled or isinstance(entry.operation, kinds))
        ]
        if targets:
            await self._visit.cancel(self._random.choice(targets))

    async def _take_over(self) -> None:
        """Attach from a second stream, here or elsewhere, and see the first one end."""
        first = self._visit.stream
        assert self._place is not None
        attached = await self._attach(self._service.any_of(self._place, self._random))
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
