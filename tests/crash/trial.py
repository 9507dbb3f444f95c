"""A trial: clients in sessions of many kinds, while the daemon's processes end and start."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from random import Random

import grpc
from grpc import aio
from tests.crash.client import Client, Counts, Setting
from tests.crash.drawing import session_id
from tests.crash.ledger import Ledger
from tests.crash.replay import compare
from tests.crash.service import Service, SharedStore
from tests.crash.stream import Lost, Stream
from tests.crash.stub import Stub
from tests.crash.violation import Violation, check

from cellwire.v1.operations_pb2 import (
    DURABILITY_SAFE_FIRST,
    DURABILITY_SAFE_LATER,
    ON_DISCONNECT_CANCEL,
    ON_DISCONNECT_CONTINUE,
    ON_DISCONNECT_PAUSE,
)

MAX_CLIENTS = 12
_WINDOWS = (64, 200, 1_000)
_DURABILITIES = (DURABILITY_SAFE_LATER, DURABILITY_SAFE_LATER, DURABILITY_SAFE_FIRST)
_DISCONNECTS = (ON_DISCONNECT_PAUSE, ON_DISCONNECT_CONTINUE, ON_DISCONNECT_CANCEL)


class Kind(StrEnum):
    """How an outage begins."""

    KILL = "kill"
    KILL_WHILE_STARTING = "kill while starting"
    TERMINATE = "terminate"
    PAUSE = "pause"
    FULL_DISK = "full disk"
    PAUSE_PAST_LEASE = "pause past its lease"
    PAUSE_STORE = "pause the store"
    RESTART_STORE = "kill and restart the store"


@dataclass(frozen=True, slots=True)
class Outage:
    """After so many messages and a moment more, the daemon ends; then it is started."""

    kind: Kind
    after_messages: int
    after_s: float
    daemon: int = 0


KILLS = {Kind.KILL: 20, Kind.TERMINATE: 3, Kind.KILL_WHILE_STARTING: 2, Kind.PAUSE: 2}
"""How often each kind of outage is drawn where kills are wanted."""
SHARED = {
    Kind.KILL: 12,
    Kind.TERMINATE: 4,
    Kind.KILL_WHILE_STARTING: 1,
    Kind.PAUSE: 2,
    Kind.PAUSE_PAST_LEASE: 4,
    Kind.PAUSE_STORE: 1,
    Kind.RESTART_STORE: 2,
}
"""The same of daemons that share a store."""
FULL_DISKS = {Kind.FULL_DISK: 6, Kind.KILL: 2, Kind.TERMINATE: 1}


def draw_outages(
    seed: int,
    number: int,
    kinds: Mapping[Kind, int] = KILLS,
    *,
    counted: Collection[Kind] = (Kind.KILL, Kind.KILL_WHILE_STARTING),
    most_messages: int = 300,
    daemons: int = 1,
) -> list[Outage]:
    """Draw a schedule with so many outages of the counted kinds, and others between them."""
    random = Random(f"outages {seed}")
    outages: list[Outage] = []
    while number:
        kind = random.choices(list(kinds), list(kinds.values()))[0]
        after_messages, after_s = random.randint(0, most_messages), random.random() * 0.05
        daemon = random.randrange(daemons) if daemons > 1 else 0
        outages.append(Outage(kind, after_messages, after_s, daemon))
        number -= kind in counted
    return outages


@dataclass(slots=True)
class Summary:
    """What has happened in a trial."""

    seed: int
    outages: dict[str, int] = field(default_factory=dict)
    counts: Counts = field(default_factory=Counts)

    def __str__(self) -> str:
        return json.dumps({"seed": self.seed, "outages": self.outages, **asdict(self.counts)})


class Trial:
    """Runs clients against a service, and compares each session with an uninterrupted one."""

    def __init__(
        self, service: Service, reference: str, seed: int, store: SharedStore | None = None
    ) -> None:
        self.summary = Summary(seed)
        self._service = service
        self._reference = reference
        self._seed = seed
        self._store = store
        self._sessions = 0
        self._clients: set[Client] = set()
        self._closed: list[Client] = []
        self._group: asyncio.TaskGroup
        self._stub: Stub
        self._calm = False  # no more outages: finish

    async def run(self, outages: Sequence[Outage], clients: int) -> Summary:
        """Run clients through all outages, to the end of their sessions; Violation."""
        try:
            async with aio.insecure_channel(self._reference) as channel:
                self._stub = Stub(channel)
                for number in range(len(self._service.daemons)):
                    await self._service.start(number)
                async with asyncio.TaskGroup() as self._group:
                    for _ in range(clients):
                        self._group.create_task(self._live())
                    await self._end_daemons(outages)
                    self._calm = True
                    for client in self._clients:
                        client.budget = 0
                await self._check_closed()
        except ExceptionGroup as group:
            raise Violation(f"seed {self._seed}: {_first(group)}") from group
        return self.summary

    async def _check_closed(self) -> None:
        """Check that what was closed safely has not come back."""
        place = await self._service.ready()
        async with aio.insecure_channel(place.address) as channel:
            for client in self._closed:
                if client.must_stay_closed:
                    await _check_gone(Stub(channel), client.ledger.session_id)

    async def _live(self) -> None:
        """Live in one session after the other."""
        while not self._calm:
            random = self._next_random()
            ledger = Ledger(
                session_id(random), random.getrandbits(50), random.choice(_DURABILITIES)
            )
            setting = Setting(random.choice(_WINDOWS), random.choice(_DISCONNECTS))
            await self._finish(
                Client(ledger, setting, self._service, random, self.summary.counts, self._on_fork)
            )

    def _next_random(self) -> Random:
        self._sessions += 1
        return Random(f"session {self._seed} {self._sessions}")

    def _on_fork(self, parent: Client, copy: Ledger) -> None:
        if len(self._clients) < MAX_CLIENTS and not self._calm:
            random = self._next_random()
            counts = self.summary.counts
            client = Client(
                copy, parent.setting, self._service, random, counts, self._on_fork, parent
            )
            self._group.create_task(self._finish(client))

    async def _finish(self, client: Client) -> None:
        """Let a client live, and compare its session."""
        self._clients.add(client)
        try:
            if await client.run():
                self._closed.append(client)
                await compare(client.ledger, self._stub, client.setting.window)
        except Violation as violation:
            raise Violation(f"session {client.ledger.session_id}: {violation}") from violation
        self._clients.discard(client)
        self.summary.counts.sessions += 1
        self.summary.counts.characters += len(client.ledger.text)

    async def _end_daemons(self, outages: Sequence[Outage]) -> None:
        service = self._service
        for outage in outages:
            await service.reach(service.messages + outage.after_messages)
            await asyncio.sleep(outage.after_s)  # so that not every kill follows a message
            counted = self.summary.outages
            counted[str(outage.kind)] = counted.get(str(outage.kind), 0) + 1
            await self._begin_outage(outage)

    async def _begin_outage(self, outage: Outage) -> None:
        """Carry out an outage, to the end of it."""
        service, number, daemon = self._service, outage.daemon, self._service.daemons[outage.daemon]
        match outage.kind:
            case Kind.PAUSE:
                await daemon.pause(10 * outage.after_s)
            case Kind.FULL_DISK:
                await daemon.fill_disk(10 * outage.after_s)
            case Kind.PAUSE_PAST_LEASE:
                assert self._store is not None
                service.freeze(number)
                await self._store.wait_for_leases(len(service.daemons) - 1)
                await service.reach(service.messages + outage.after_messages)
                await service.go_on(number)
            case Kind.PAUSE_STORE:
                assert self._store is not None
                service.note_lapse()
                await self._store.pause(20 * outage.after_s)
                service.note_lapse()
            case Kind.RESTART_STORE:
                assert self._store is not None
                service.note_lapse()
                await self._store.restart(10 * outage.after_s)
                service.note_lapse()
            case Kind.TERMINATE:
                await service.terminate(number)
                await service.start(number)
            case Kind.KILL | Kind.KILL_WHILE_STARTING:
                await service.kill(number)
                if outage.kind is Kind.KILL_WHILE_STARTING:
                    await daemon.kill_while_starting(10 * outage.after_s)
                await service.start(number)


async def _check_gone(stub: Stub, session_id: str) -> None:
    try:
        await Stream(stub).attach(session_id=session_id)
    except Lost as lost:
        check(lost.code == grpc.StatusCode.NOT_FOUND, f"session {session_id} was closed: {lost}")
    else:
        raise Violation(f"session {session_id} is back, and was closed")


def _first(group: ExceptionGroup) -> Exception:
    error: Exception = group
    while isinstance(error, ExceptionGroup):
        error = error.exceptions[0]
    return error
