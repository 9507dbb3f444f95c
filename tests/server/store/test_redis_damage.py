"""Damaged values in a Redis server: each hurts its own session alone, and is told."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from random import Random
from typing import Any

import pytest
from tests.server.store.redis_server import RedisServer
from tests.server.store.stored import EVERYTHING, HEADER, ONE, TWO, added, content, session, state

from cellwire.server.errors import DamagedRecord, NotFound, StoreFailed
from cellwire.server.store.leases import Leases
from cellwire.server.store.redis_deletions import deletion_key
from cellwire.server.store.redis_keys import hash_key, list_key
from cellwire.server.store.store import RefusedWrite, Store
from cellwire.server.store.writes import Create, Delete, KeepUntil, PutState, Write

HASH, LIST = hash_key(ONE), list_key(ONE)
Alter = Callable[[Any], object]


class Two:
    """A store with two sessions, each with a state, text rows and three changes."""

    def __init__(self, server: RedisServer, store: Store, leases: Leases) -> None:
        self.store = store
        self.leases = leases
        self.client = server.client()
        for name in (ONE, TWO):
            store.commit([*session(name, 3_000, 2_500), KeepUntil(name, 5.0)])
            store.commit([added(name, 2, 3_000, [1]), added(name, 3, 3_001, [2])])


@pytest.fixture
def two(redis_server: RedisServer) -> Iterator[Two]:
    opened = redis_server.open()
    assert opened.leases is not None
    with closing(opened.store):
        two = Two(redis_server, opened.store, opened.leases)
        with two.client:
            yield two


def put(field: str, value: bytes = b"\x00" * 99) -> Alter:
    return lambda client: client.hset(HASH, field, value)


def remove(field: str) -> Alter:
    return lambda client: client.hdel(HASH, field)


def swap(client: Any) -> None:  # noqa: ANN401  # as of RedisServer.client
    """Put each of two changes in the other's place."""
    first, last = client.lindex(LIST, 0), client.lindex(LIST, -1)
    client.lset(LIST, 0, last)
    client.lset(LIST, -1, first)


ALTERATIONS: list[tuple[Alter, str]] = [
    (lambda client: client.rpop(LIST), "end at revision 2"),
    (lambda client: client.lpop(LIST), "before revision 2 is missing"),
    (lambda client: client.delete(LIST), "end at revision 0"),
    (lambda client: client.lset(LIST, 1, "short"), "change record is too short"),
    (lambda client: client.lset(LIST, 1, "altered" * 9), "change record has another checksum"),
    (swap, "before revision 3 is missing"),
    (remove("t1008"), "text from .* is missing"),
    (remove("t2016"), "text from .* is missing"),
    (put("t0"), "text record has another checksum"),
    (remove("s"), "do not belong together"),
    (put("s"), "state record has another checksum"),
    (put("h"), "header record has another checksum"),
    (remove("h"), "header record is too short"),
    (put("p"), "place record has another checksum"),
    (remove("p"), "place record is too short"),
    (put("x"), "expiry record has another checksum"),
    (lambda client: client.set(HASH, "a text"), "holds something else"),
    (lambda client: client.set(LIST, "a text"), "holds something else"),
]


@pytest.mark.parametrize(("alter", "match"), ALTERATIONS)
def test_a_damaged_session_says_so_and_no_other(two: Two, alter: Alter, match: str) -> None:
    store = two.store
    whole = content(store)[TWO]
    alter(two.client)
    with pytest.raises(DamagedRecord, match=match) as error:
        store.load(ONE, EVERYTHING)
    assert error.value.session_id == ONE
    assert content(store) == {ONE: "damaged", TWO: whole}
    assert store.expired(9.0)[-1:] == [TWO]
    store.commit([added(TWO, 4, 3_002, [1])])
    assert two.leases.claim(ONE) is None
    store.commit([Delete(ONE)])
    assert list(content(store)) == [TWO]
    assert two.client.keys("*1111*") == [deletion_key(ONE).encode()]


@pytest.mark.parametrize(
    ("alter", "write"),
    [
        (put("h"), Create(ONE, HEADER)),
        (put("p"), added(ONE, 4, 3_002)),
        (put("t2016"), PutState(ONE, state(2_600))),
        (lambda client: client.lset(LIST, 1, "altered" * 9), PutState(ONE, state(2_600))),
        (lambda client: client.rpop(LIST), added(ONE, 4, 3_002)),
        (lambda client: client.set(LIST, "a text"), added(ONE, 4, 3_002)),
        (lambda client: client.set(HASH, "a text"), KeepUntil(ONE, 9.0)),
    ],
)
def test_a_damaged_session_is_refused_alone(two: Two, alter: Alter, write: Write) -> None:
    alter(two.client)
    with pytest.raises(RefusedWrite) as refused:
        two.store.commit([added(TWO, 4, 3_002, [1]), write])
    assert isinstance(refused.value.error, DamagedRecord)
    assert (refused.value.session_id, two.store.head(TWO).revision) == (ONE, 3)
    two.store.commit([added(TWO, 4, 3_002, [1])])


def test_damage_of_indexes_shows_no_session_that_is_not_there(two: Two) -> None:
    two.client.zadd("cellwire:sessions", {"0" * 32: 0})
    two.client.zadd("cellwire:expiries", {"0" * 32: 1.0})
    assert list(content(two.store)) == [ONE, TWO]
    assert two.store.sessions(limit=1) == two.store.sessions()[:1]
    assert two.store.expired(9.0) == [ONE, TWO]
    assert two.store.expired(9.0, limit=1) == [ONE]


def test_altered_bytes_are_told(two: Two) -> None:
    whole = content(two.store)[ONE]
    dump = two.client.hgetall(HASH)
    random = Random(15)
    for _ in range(60):
        field, value = random.choice(sorted(dump.items()))
        if field in {b"o", b"e", b"r"}:
            continue
        at = random.randrange(len(value))
        altered = value[:at] + bytes([value[at] ^ random.randint(1, 255)]) + value[at + 1 :]
        two.client.hset(HASH, field, altered)
        with pytest.raises(DamagedRecord):
            two.store.load(ONE, EVERYTHING)
        two.client.hset(HASH, field, value)
    assert content(two.store)[ONE] == whole


def test_a_session_that_is_made_anew_while_it_is_read(
    two: Two, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its text is read after its header: another session's would not belong to it."""
    link = two.store._reader._link  # type: ignore[attr-defined]
    read, changes = link.read, [0]

    def changing(*commands: tuple[object, ...]) -> list[object]:
        found: list[object] = read(*commands)
        if commands[0][0] == "HMGET" and "t0" not in commands[0] and changes[0]:
            changes[0] -= 1
            two.client.hset(HASH, "h", b"another")
        return found

    monkeypatch.setattr(link, "read", changing)
    header = two.client.hget(HASH, "h")
    changes[0] = 1
    with pytest.raises(DamagedRecord):
        two.store.load(ONE, EVERYTHING)
    two.client.hset(HASH, "h", header)
    changes[0] = 1
    assert list(two.store.text(ONE, 0, 3)) == [0, 1, 2]
    with pytest.raises(NotFound):
        two.store.text("3" * 32, 0, 1)


def test_a_foreign_writer_is_told_of(two: Two, monkeypatch: pytest.MonkeyPatch) -> None:
    """Something else that writes a session between its reading and its writing, each time."""
    link = two.store._reader._link  # type: ignore[attr-defined]
    write = link.write
    place = two.client.hget(HASH, "p")

    def changing(*commands: tuple[object, ...]) -> list[object]:
        two.client.hset(HASH, "p", b"another")
        answer: list[object] = write(*commands)
        two.client.hset(HASH, "p", place)
        return answer

    monkeypatch.setattr(link, "write", changing)
    with pytest.raises(StoreFailed, match="another program writes"):
        two.store.commit([added(ONE, 4, 3_002, [1])])
