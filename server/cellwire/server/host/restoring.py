"""Named checkpoints on their way back from the store into their sessions."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from typing import Protocol

from cellwire.server.batch.limits import REMEMBERED_TOKENS
from cellwire.server.engine import commands
from cellwire.server.errors import CellwireError, DamagedRecord, Internal, InvalidArgument
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.session.operations import Restore
from cellwire.server.session.restore_task import Supplied
from cellwire.server.state.resume import resumed
from cellwire.server.state.snapshot import SessionSnapshot
from cellwire.server.store.store import Store

_log = logging.getLogger(__name__)

_MOST_READING = 8  # checkpoints, each in a thread


class Stored(Protocol):
    """Has the store, and knows what is in it."""

    @property
    def store(self) -> Store:
        """The store."""

    async def settled(self, session_id: str) -> None:
        """Wait until the store has what was written of a session; Unavailable."""


class Restoring:
    """Reads checkpoints, each in a task. The session that waits for one lets others go on."""

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._tasks = set[asyncio.Task[None]]()
        self._reading = asyncio.Semaphore(_MOST_READING)

    def begin(self, session: DurableSession, restore: Restore) -> None:
        """Let a session go on from its checkpoint, or hear why it cannot."""
        task = asyncio.create_task(self._supply(session, restore))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _supply(self, session: DurableSession, restore: Restore) -> None:
        supplied: Supplied
        try:
            supplied = await self._snapshot(session, restore.name)
        except CellwireError as error:
            supplied = error
        # The session would wait for ever.
        except Exception:  # noqa: BLE001
            _log.exception("a checkpoint cannot be restored")
            supplied = Internal("the daemon failed; its log says how")
        session.post(commands.SupplySnapshot(session.id, restore, supplied))

    async def _snapshot(self, session: DurableSession, name: str) -> SessionSnapshot:
        """Return a checkpoint; NotFound, DamagedRecord, StoreFailed, Unavailable.

        ResourceExhausted without room for its text.
        """
        if name not in session.record.changes.checkpoints:
            raise session.record.unknown(name)
        await self._stored.settled(session.id)
        load = partial(self._stored.store.load_checkpoint, session.id, name, REMEMBERED_TOKENS)
        async with self._reading:
            stored = await in_own_thread("read a checkpoint", load)
        try:
            snapshot = resumed(stored)
        except InvalidArgument as error:
            raise DamagedRecord(
                f"what is stored of the checkpoint {name!r} cannot be used: {error}",
                session_id=session.id,
            ) from error
        session.text.check_room(len(snapshot.token_bytes))
        return snapshot
