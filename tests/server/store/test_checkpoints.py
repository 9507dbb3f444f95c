"""Named checkpoints in every store: whole sessions, kept and come back to."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.server.store.redis_server import RedisServer
from tests.server.store.stored import (
    EVERYTHING,
    HEADER,
    ONE,
    TWO,
    added,
    content,
    database,
    session,
    state,
)

from cellwire.server.errors import DamagedRecord, Internal, NotFound
from cellwire.server.state.change import (
    REMEMBERED_OPERATIONS,
    DoneKind,
    DoneOperation,
    Restoration,
)
from cellwire.server.state.named_checkpoint import NamedCheckpoint
from cellwire.server.store.redis_link import Command, RedisLink
from cellwire.server.store.sqlite import SqliteStore
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

NAMES = f"cellwire:{{{ONE}}}:n"


def restored(revision: int, name: str, done: int = 0) -> RestoreCheckpoint:
    operation = DoneOperation(done, DoneKind.RESTORED, 0, name=name)
    return RestoreCheckpoint(ONE, Restoration(revision, name, (operation,) if done else ()))


def kept(store: Store, name: str = "a") -> list[int]:
    return list(store.load_checkpoint(ONE, name, EVERYTHING).tokens)


@pytest.mark.parametrize(("tokens", "tokens_read"), [(100, 40), (5_000, 4_000), (3, 0)])
def test_a_session_comes_back_to_a_checkpoint(store: Store, tokens: int, tokens_read: int) -> None:
    store.commit([*session(ONE, tokens, tokens_read), *session(TWO, tokens, tokens_read)])
    store.commit([added(ONE, 2, tokens, [7], done=2), PutCheckpoint(ONE, "a", 2)])
    before, other = store.load(ONE, EVERYTHING), store.load(TWO, EVERYTHING)
    assert store.load_checkpoint(ONE, "a", EVERYTHING) == replace(before, checkpoints=())
    assert before.checkpoints == (NamedCheckpoint("a", tokens + 1, before.end),)
    store.commit([added(ONE, 3, tokens_read, range(2_000), done=3), KeepUntil(ONE, 5.0)])
    store.commit([PutState(ONE, state(tokens_read + 1_500))])
    store.commit([restored(4, "a", done=4)])
    back = store.load(ONE, EVERYTHING)
    assert back.head == replace(before.head, revision=4, expires_s=5.0)
    assert [done.operation_id for done in back.done] == [1, 2, 3, 4]
    assert replace(back, head=before.head, done=before.done) == before
    assert store.load(TWO, EVERYTHING) == other
    store.commit([added(ONE, 5, tokens + 1, [8]), PutState(ONE, state(tokens))])
    assert list(store.text(ONE, tokens, EVERYTHING)) == [7, 8]
    assert kept(store) == [*range(tokens), 7]


def test_a_checkpoint_has_the_last_tokens_that_are_wanted(store: Store) -> None:
    store.commit([*session(ONE, 3_000, 2_900), PutCheckpoint(ONE, "a", 1)])
    loaded = store.load_checkpoint(ONE, "a", 200)
    assert (loaded.text_start, list(loaded.tokens)) == (2_800, list(range(2_800, 3_000)))


def test_checkpoints_are_listed_replaced_and_discarded(store: Store) -> None:
    names = ["b", "é", "a", "世 界", "'"]
    writes: list[Write] = [PutCheckpoint(ONE, name, 1) for name in names]
    store.commit([*session(ONE, 9, 4), *writes])
    assert [c.name for c in store.load(ONE, 1).checkpoints] == sorted(names)
    store.commit([added(ONE, 2, 9, [7]), PutCheckpoint(ONE, "a", 2)])
    assert kept(store) == [*range(9), 7]
    store.commit([added(ONE, 3, 10), DiscardCheckpoint(ONE, "a", 3)])
    assert [c.name for c in store.load(ONE, 1).checkpoints] == sorted(set(names) - {"a"})
    with pytest.raises(NotFound, match="'a'"):
        store.load_checkpoint(ONE, "a", 1)
    with pytest.raises(NotFound, match=TWO):
        store.load_checkpoint(TWO, "b", 1)


def test_restoring_does_not_depend_on_what_was_restored_before(store: Store) -> None:
    store.commit([*session(ONE, 2_000, 1_900), PutCheckpoint(ONE, "a", 1)])
    store.commit([added(ONE, 2, 1_950, [1] * 1_500), PutState(ONE, state(3_000))])
    store.commit([added(ONE, 3, 3_450), PutCheckpoint(ONE, "b", 3)])
    at = {name: kept(store, name) for name in "ab"}
    for revision, name in enumerate("abaab", 4):
        store.commit([restored(2 * revision, name)])
        assert list(store.text(ONE, 0, EVERYTHING)) == at[name]
        length = len(at[name])
        store.commit([added(ONE, 2 * revision + 1, length, [9] * 50), PutState(ONE, state(length))])
        assert {name: kept(store, name) for name in "ab"} == at


@pytest.mark.parametrize(
    "writes",
    [
        [added(ONE, 2, 100, [7]), PutCheckpoint(ONE, "a", 2), added(ONE, 3, 100, [8])],
        [added(ONE, 2, 100), DiscardCheckpoint(ONE, "z", 2), added(ONE, 3, 100, [8])],
        [DiscardCheckpoint(ONE, "z", 1), added(ONE, 2, 100, [7]), PutCheckpoint(ONE, "z", 2)],
        [added(ONE, 2, 100, [7]), PutState(ONE, state(101)), restored(3, "z", done=3)],
        [restored(2, "z"), added(ONE, 3, 100, [7]), PutCheckpoint(ONE, "z", 3), restored(4, "z")],
        [restored(2, "z", done=2), added(ONE, 3, 50, [7]), PutState(ONE, state(50))],
        [PutCheckpoint(ONE, "z", 1), Delete(ONE), *session(ONE), PutCheckpoint(ONE, "y", 1)],
    ],
)
def test_a_commit_that_is_repeated_changes_nothing(store: Store, writes: list[Write]) -> None:
    store.commit([*session(ONE), PutCheckpoint(ONE, "z", 1)])
    store.commit(writes)
    once = content(store)
    store.commit(writes)
    assert content(store) == once


def test_operations_are_remembered_over_a_restore_as_over_any_change(store: Store) -> None:
    store.commit([*session(ONE), PutCheckpoint(ONE, "a", 1)])
    for revision in range(2, 80):
        store.commit([added(ONE, revision, 100, [1], done=revision)])
    store.commit([restored(80, "a", done=80)])
    done = [operation.operation_id for operation in store.load(ONE, 1).done]
    assert done == list(range(81 - REMEMBERED_OPERATIONS, 81))
    assert store.load(ONE, 1).done[-1].name == "a"


def test_a_deleted_session_has_no_checkpoints(store: Store) -> None:
    store.commit([*session(ONE), PutCheckpoint(ONE, "a", 1), *session(TWO)])
    store.commit([Delete(ONE)])
    store.commit(session(ONE))
    assert store.load(ONE, 1).checkpoints == ()
    with pytest.raises(NotFound):
        store.load_checkpoint(ONE, "a", 1)


@pytest.mark.parametrize(
    ("write", "kind"),
    [
        (PutCheckpoint(ONE, "a", 2), Internal),
        (DiscardCheckpoint(ONE, "a", 2), Internal),
        (restored(2, "nowhere"), NotFound),
        (PutCheckpoint(TWO, "a", 1), NotFound),
    ],
)
def test_a_checkpoint_that_does_not_fit_undoes_its_commit(
    store: Store, write: Write, kind: type[Exception]
) -> None:
    store.commit(session(ONE))
    before = content(store)
    with pytest.raises(RefusedWrite) as refused:
        store.commit([KeepUntil(ONE, 3.0), Create("3" * 32, HEADER), write])
    assert refused.value.session_id == write.session_id
    assert type(refused.value.error) is kind
    assert content(store) == before


@pytest.mark.parametrize(
    ("statement", "listed"),
    [
        ("UPDATE checkpoint SET record = zeroblob(40)", []),
        ("UPDATE checkpoint SET name = 'b'", []),
        ("DELETE FROM change WHERE session < 0", ["a"]),
        ("DELETE FROM text WHERE session < 0", ["a"]),
        ("UPDATE state SET record = zeroblob(9) WHERE session < 0", ["a"]),
    ],
)
def test_a_damaged_checkpoint_leaves_its_session_whole(
    tmp_path: Path, statement: str, listed: list[str]
) -> None:
    with closing(SqliteStore(tmp_path, "NORMAL")) as store:
        store.commit([*session(ONE), PutCheckpoint(ONE, "a", 1)])
        whole = store.load(ONE, EVERYTHING)
        store.reopen()
        with closing(sqlite3.connect(database(tmp_path))) as connection, connection:
            assert connection.execute(statement).rowcount == 1
        found = store.load(ONE, EVERYTHING)
        assert replace(found, checkpoints=whole.checkpoints) == whole
        assert [checkpoint.name for checkpoint in found.checkpoints] == listed
        if listed:
            with pytest.raises(DamagedRecord):
                store.load_checkpoint(ONE, "a", EVERYTHING)
        store.commit([added(ONE, 2, 100, [7]), PutCheckpoint(ONE, "a", 2)])
        assert kept(store) == [*range(100), 7]
        store.commit([Delete(ONE)])
        with closing(sqlite3.connect(database(tmp_path))) as connection:
            for table in ("change", "text", "state", "session"):
                query = f"SELECT count(*) FROM {table}"  # noqa: S608  # a name from above
                assert connection.execute(query).fetchone() == (0,)


@pytest.mark.parametrize(
    ("command", "listed", "refused"),
    [
        (("HSET", NAMES, "a", "damaged"), False, False),
        (("DEL", f"{NAMES}:a:c"), True, True),
        (("HSET", f"{NAMES}:a", "p", "damaged"), True, True),
        (("HSET", f"{NAMES}:a", "s", "damaged"), True, False),  # missed when it is read
        (("HDEL", f"{NAMES}:a", "t0"), True, True),
        (("SET", f"{NAMES}:a", "another kind of key"), True, True),
    ],
)
def test_a_damaged_checkpoint_in_a_server_leaves_its_session_whole(
    redis_server: RedisServer,
    command: tuple[str, ...],
    listed: bool,  # noqa: FBT001  # by name
    refused: bool,  # noqa: FBT001  # by name
) -> None:
    with redis_server.client() as client, closing(redis_server.open().store) as store:
        store.commit([*session(ONE), PutCheckpoint(ONE, "a", 1)])
        whole = store.load(ONE, EVERYTHING)
        client.execute_command(*command)
        found = store.load(ONE, EVERYTHING)
        assert replace(found, checkpoints=whole.checkpoints) == whole
        assert len(found.checkpoints) == listed
        if listed:
            with pytest.raises(DamagedRecord):
                store.load_checkpoint(ONE, "a", EVERYTHING)
        if refused:
            with pytest.raises(RefusedWrite):
                store.commit([restored(2, "a")])
        store.commit([added(ONE, 2, 100, [7]), PutCheckpoint(ONE, "a", 2)])
        assert kept(store) == [*range(100), 7]
        store.commit([Delete(ONE)])
        assert list(client.scan_iter("cellwire:{*")) == []


def test_a_text_that_is_restored_while_it_is_read_is_of_one_time(
    redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    with closing(redis_server.open().store) as store:
        store.commit([*session(ONE, 3_000, 2_900), PutCheckpoint(ONE, "a", 1)])
        store.commit([added(ONE, 2, 2_950, [1] * 3_000), PutState(ONE, state(5_000))])
        read = RedisLink.read
        again = [restored(3, "a"), restored(4, "a")]

        def read_and_restore(link: RedisLink, *commands: Command) -> list[Any]:
            answers = read(link, *commands)
            if again and len(commands) > 1:
                store.commit([again.pop(0)])
            return answers

        monkeypatch.setattr(RedisLink, "read", read_and_restore)
        assert list(store.text(ONE, 0, EVERYTHING)) == list(range(3_000))
        again.append(restored(5, "a"))
        assert list(store.load(ONE, EVERYTHING).tokens) == list(range(3_000))
        assert not again
