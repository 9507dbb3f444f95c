"""What a sweep deletes, and what becomes of it when the store refuses or fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest
from tests.server.store.stored import HEADER, session_id_of

from cellwire.server.errors import DamagedRecord, StoreFailed, Unavailable
from cellwire.server.host import expiry_sweep, stored_sessions
from cellwire.server.host.expiry_sweep import ExpirySweep
from cellwire.server.host.stored_deletion import StoredDeletion
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.host.turns import Turns
from cellwire.server.store.leases import OpenedStore
from cellwire.server.store.memory import MemoryStore
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import Create, Delete, KeepUntil, Write

GUARD_S = 10
NAMES = [session_id_of(number) for number in range(25)]


class Store(MemoryStore):
    """Refuses to delete some sessions, and fails after some commits."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: set[str] = set()
        self.commits_left = 1_000
        self.looks = 0

    def commit(self, writes: Sequence[Write]) -> None:
        """Carry out writes."""
        if not self.commits_left:
            raise StoreFailed("the disk is full")
        self.commits_left -= 1
        for write in writes:
            if isinstance(write, Delete) and write.session_id in self.refused:
                damaged = DamagedRecord("it is damaged", session_id=write.session_id)
                raise RefusedWrite(write.session_id, damaged)
        super().commit(writes)

    def expired(self, now_s: float, limit: int = 100) -> list[str]:
        """Return sessions that have expired."""
        self.looks += 1
        return super().expired(now_s, limit)

    @property
    def ids(self) -> list[str]:
        """Return those that are left."""
        return [head.session_id for head in self.sessions() if not isinstance(head, DamagedRecord)]


@asynccontextmanager
async def sweeping(store: Store) -> AsyncIterator[ExpirySweep]:
    """Sweep a store with sessions that expired one after the other, ten a page."""
    for number, name in enumerate(NAMES):
        MemoryStore.commit(store, [Create(name, HEADER), KeepUntil(name, float(number))])
    stored = StoredSessions(OpenedStore(store), lambda: 100.0, 10)
    try:
        async with asyncio.timeout(GUARD_S):
            yield ExpirySweep(stored, StoredDeletion(stored, Turns(stored)))
    finally:
        store.commits_left = 1_000
        await stored.close()


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(expiry_sweep, "_PAGE", 10)


async def test_all_that_has_expired_is_deleted() -> None:
    store = Store()
    async with sweeping(store) as sweep:
        MemoryStore.commit(store, [Create("f" * 32, HEADER), KeepUntil("f" * 32, 101.0)])
        await sweep.sweep()
        assert store.ids == ["f" * 32]
        assert store.looks == 4


@pytest.mark.parametrize("refused", [NAMES[:12], NAMES[3:4], NAMES])
async def test_what_the_store_refuses_to_delete_keeps_no_other(
    refused: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Not even if they are more than a page: the sweep ends, and tries them in the next."""
    store = Store()
    store.refused = set(refused)
    async with sweeping(store) as sweep:
        for _ in range(2):
            store.looks = 0
            await sweep.sweep()
            assert store.ids == refused
            assert store.looks <= 4
        assert caplog.text.count("cannot delete the expired session") == 2 * len(refused)
        store.refused = set()
        await sweep.sweep()
        assert store.ids == []


async def test_a_sweep_ends_when_the_store_fails_in_the_middle(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(stored_sessions, "SAFE_FIRST_TIMEOUT_S", 0.05)
    store = Store()
    async with sweeping(store) as sweep:
        store.commits_left = 1
        with pytest.raises(Unavailable):
            await sweep.sweep()
        assert store.looks == 2
        store.commits_left = 1_000
        monkeypatch.undo()
        await sweep.sweep()
        assert store.ids == []
