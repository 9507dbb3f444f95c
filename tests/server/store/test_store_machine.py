"""Random writes in the SQLite store, with faults and crashes, against the store in memory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from copy import copy
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from tests.server.store.faults import Faults
from tests.server.store.stored import (
    EVERYTHING,
    HEADER,
    added,
    content,
    session_id_of,
    state,
)

from cellwire.server.errors import NotFound, StoreFailed
from cellwire.server.state.change import DoneKind, DoneOperation, Restoration
from cellwire.server.state.stored_session import StoredSession
from cellwire.server.store import folder, sqlite, sqlite_rows, sqlite_writer
from cellwire.server.store.memory import MemoryStore
from cellwire.server.store.sqlite import SqliteStore
from cellwire.server.store.sqlite_file import Synchronous
from cellwire.server.store.store import RefusedWrite, Store
from cellwire.server.store.writes import (
    Create,
    Delete,
    DiscardCheckpoint,
    KeepUntil,
    PutCheckpoint,
    PutState,
    RestoreCheckpoint,
    Write,
)

KINDS = [*3 * ["add"], "state", "keep", "delete", *2 * ["checkpoint", "restore"], "discard"]
SESSIONS = st.integers(0, 4).map(session_id_of)


class Crashes(RuleBasedStateMachine):
    """A store and its plain model. Rows are short and chains too, so that there are many."""

    def __init__(self) -> None:
        super().__init__()
        self.patches = pytest.MonkeyPatch()
        self.faults = Faults()
        self.model = MemoryStore()
        self.prepare()
        self.store: Store = self.opened()

    def prepare(self) -> None:
        self.patches.setattr(sqlite_rows, "TEXT_BYTES", 8)
        self.patches.setattr(sqlite_writer, "MAX_CHAIN", 3)
        self.faults.install(self.patches)
        self.patches.setattr(sqlite, "sync_folder", lambda _: None)
        self.patches.setattr(folder, "sync_folder", lambda _: None)
        self.folder = Path(tempfile.mkdtemp())
        self.copies = 0

    def opened(self) -> Store:
        # Power is not lost here, so nothing waits for the disk.
        return SqliteStore(self.folder / str(self.copies), cast("Synchronous", "OFF"))

    def teardown(self) -> None:
        self.faults.mend()
        self.store.close()
        self.patches.undo()
        self.clean_up()

    def clean_up(self) -> None:
        shutil.rmtree(self.folder)

    @rule(data=st.data())
    def commit(self, data: st.DataObject) -> None:
        writes, after = self.draw_writes(data)
        self.store.commit(writes)
        self.model = after

    @rule(data=st.data())
    def refuse(self, data: st.DataObject) -> None:
        writes, _ = self.draw_writes(data)
        with pytest.raises(RefusedWrite):
            self.store.commit([*writes, KeepUntil("nobody", 1.0)])

    @rule(data=st.data(), statements=st.integers(1, 40), after=st.booleans())
    def fail(self, data: st.DataObject, statements: int, *, after: bool) -> None:
        self.fail_and_then(data, statements, after, self.store.reopen)

    @rule(data=st.data(), statements=st.integers(1, 40), after=st.booleans())
    def fail_and_die(self, data: st.DataObject, statements: int, *, after: bool) -> None:
        self.fail_and_then(data, statements, after, self.die)

    @rule()
    def die(self) -> None:
        """Go on with a copy of the files, as the death of a process leaves them."""
        self.copies += 1
        before = self.folder / str(self.copies - 1)
        shutil.copytree(before, self.folder / str(self.copies))
        self.store.close()
        self.store = self.opened()

    @rule()
    def stop(self) -> None:
        self.store.close()
        self.store = self.opened()

    @invariant()
    def is_as_the_model(self) -> None:
        assert content(self.store) == content(self.model)
        # Sessions that expire at the same moment come in any order.
        assert sorted(self.store.expired(50.0)) == sorted(self.model.expired(50.0))

    def fail_and_then(
        self,
        data: st.DataObject,
        statements: int,
        after: bool,  # noqa: FBT001  # as drawn
        go_on: Callable[[], None],
    ) -> None:
        """Commit with a fault: what is there later is all of the commit or nothing of it."""
        writes, committed = self.draw_writes(data)
        self.faults.plan(statements, after=after)
        try:
            self.store.commit(writes)
            returned = True
        except StoreFailed:
            returned = False
        self.faults.mend()
        go_on()
        found = content(self.store)
        possible = [committed] if returned else [self.model, committed]
        assert found in [content(model) for model in possible]
        self.store.commit(writes)
        self.model = committed

    def draw_writes(self, data: st.DataObject) -> tuple[list[Write], MemoryStore]:
        """Draw writes that can be carried out, and return the model after them."""
        after = copy(self.model)
        writes: list[Write] = []
        for _ in range(data.draw(st.integers(0, 6))):
            write = draw_write(data, after)
            writes.append(write)
            after.commit([write])
        return writes, after


def draw_write(data: st.DataObject, model: MemoryStore) -> Write:
    session_id = data.draw(SESSIONS)
    try:
        kept = model.load(session_id, EVERYTHING)
    except NotFound:
        start = data.draw(st.sampled_from([0, 0, 500]))
        return Create(
            session_id, replace(HEADER, text_start=start, seed=data.draw(st.integers(0, 2)))
        )
    settled = kept.state.tokens_read if kept.state else kept.head.header.text_start
    length = kept.head.length
    revision = kept.head.revision
    match data.draw(st.sampled_from(KINDS)):
        case ("checkpoint" | "discard" | "restore") as kind if revision:
            return draw_checkpoint_write(data, kind, kept)
        case "state":
            return PutState(session_id, state(data.draw(st.integers(settled, length))))
        case "keep":
            return KeepUntil(session_id, data.draw(st.none() | st.floats(0, 100)))
        case "delete":
            return Delete(session_id)
        case _:
            offset = data.draw(st.integers(settled, length))
            tokens = data.draw(st.lists(st.sampled_from([1, 2, 300, 70_000]), max_size=30))
            revision += data.draw(st.integers(1, 3))
            number = data.draw(st.none() | st.integers(1, 9))
            return added(session_id, revision, offset, tokens, done=number)


def draw_checkpoint_write(data: st.DataObject, kind: str, kept: StoredSession) -> Write:
    session_id, revision = kept.head.session_id, kept.head.revision
    name = data.draw(st.sampled_from("ab"))
    if kind == "discard":
        return DiscardCheckpoint(session_id, name, revision)
    if kind == "checkpoint" or not kept.checkpoints:
        return PutCheckpoint(session_id, name, revision)
    name = data.draw(st.sampled_from(kept.checkpoints)).name
    done = DoneOperation(data.draw(st.integers(1, 9)), DoneKind.RESTORED, 0, name=name)
    restoration = Restoration(revision + data.draw(st.integers(1, 3)), name, (done,))
    return RestoreCheckpoint(session_id, restoration)


TestCrashes = Crashes.TestCase
TestCrashes.settings = settings(max_examples=25, stateful_step_count=20)
