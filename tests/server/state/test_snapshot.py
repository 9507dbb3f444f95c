"""Snapshots as bytes: read back unchanged, or refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.one_session import append, carry_out, drained, engine_with, only

from cellwire.server.batch.limits import STORED_TOKENS
from cellwire.server.engine.commands import SubmitOperation
from cellwire.server.errors import FailedPrecondition, InvalidArgument
from cellwire.server.session.events import Rewound
from cellwire.server.session.operations import Rewind
from cellwire.server.state.snapshot import (
    MAGIC,
    VERSION,
    SessionSnapshot,
    SnapshotFile,
    to_bytes,
    to_token_bytes,
)
from cellwire.server.state.snapshot import from_bytes as from_bytes_with
from cellwire.server.state.text_history import MAX_REMEMBERED

SESSION = SessionSnapshot(
    seed=7,
    rewind_window=4,
    rewind_floor=6,
    text_start=0,
    token_bytes=to_token_bytes(range(1, 9)),
    tokens_read=4,
    state=(b"abcd",),
)
SNAPSHOT = SnapshotFile(VERSION, "f" * 64, {"idle_timeout_s": 600}, SESSION)


def from_bytes(data: bytes) -> SnapshotFile:
    return from_bytes_with(data, max_state_bytes=4)


def test_a_snapshot_is_read_back_unchanged() -> None:
    assert from_bytes(to_bytes(SNAPSHOT)) == SNAPSHOT


def test_a_rewound_session_is_restored_unchanged() -> None:
    engine = engine_with(window=20)
    append(engine, *[1, 2, 3, 4, 5, 6, 0] * 6)
    carry_out(engine, Rewind(2, tokens=18))
    snapshot = engine.snapshot("s")
    data = to_bytes(SnapshotFile(VERSION, "f" * 64, {}, snapshot))
    engine.restore("t", from_bytes_with(data, max_state_bytes=100).session)
    assert engine.snapshot("t") == snapshot
    engine.handle(SubmitOperation("t", Rewind(3, offset=snapshot.rewind_floor)))
    assert only(Rewound, drained(engine)).offset == snapshot.rewind_floor
    engine.check_integrity()


def test_a_snapshot_may_hold_all_the_tokens_that_a_session_remembers() -> None:
    length = 3 * MAX_REMEMBERED
    text = to_token_bytes([2**32 - 1] * MAX_REMEMBERED)
    start = length - MAX_REMEMBERED
    longest = SessionSnapshot(2**64 - 1, 0, length, start, text, length - 1, (b"abcd",))
    settings = dict.fromkeys(("unknown_symbols", "on_disconnect", "idle_timeout_s"), 2**63)
    whole = SnapshotFile(VERSION, "f" * 64, settings, longest, bytes(4 * STORED_TOKENS))
    assert from_bytes(to_bytes(whole)) == whole


def test_a_snapshot_larger_than_any_session_is_refused_unread() -> None:
    earlier = bytes(2**24)
    whole = to_bytes(SnapshotFile(VERSION, "f" * 64, {}, SESSION, earlier))
    with pytest.raises(FailedPrecondition, match="has at most"):
        from_bytes(whole)
    assert from_bytes_with(whole, max_state_bytes=2**24).earlier == earlier


def test_a_snapshot_of_before_earlier_texts_were_kept_is_read() -> None:
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(SNAPSHOT))
    del fields["earlier"]
    body = msgspec.msgpack.encode(fields)
    assert from_bytes(MAGIC + hashlib.sha256(body).digest() + body) == SNAPSHOT


@given(st.data())
def test_a_changed_or_missing_byte_is_refused(data: st.DataObject) -> None:
    whole = to_bytes(SNAPSHOT)
    index = data.draw(st.integers(0, len(whole) - 1))
    altered = bytearray(whole)
    altered[index] ^= data.draw(st.integers(1, 255))
    for broken in (whole[:index], bytes(altered)):
        with pytest.raises(InvalidArgument):
            from_bytes(broken)


@given(st.binary())
def test_arbitrary_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidArgument):
        from_bytes(data)


def sealed(body: bytes) -> bytes:
    return MAGIC + hashlib.sha256(body).digest() + body


def test_another_version_is_refused() -> None:
    with pytest.raises(InvalidArgument, match="version 99"):
        from_bytes(sealed(msgspec.msgpack.encode({"version": 99})))


@pytest.mark.parametrize(
    "body",
    [
        b"\x81\xa1x" + b"\x91" * 4_000 + b"\xc0",  # lists within lists
        b"\x82\xa7version\x01\xacmodel_sha256\xa1\xff",  # a text that is not UTF-8
        b"\x81\xa1x\xdd\xff\xff\xff\xff",  # more members than bytes
    ],
)
def test_a_body_that_cannot_be_decoded_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidArgument, match="cannot be read"):
        from_bytes(sealed(body))


@pytest.mark.parametrize(
    "change",
    [
        {"rewind_window": 5_000},
        {"rewind_floor": 99},
        {"rewind_floor": 3},  # further back than the window
        {"tokens_read": 6},  # a state that has read past the floor
        {"tokens_read": -1},
        {"text_start": 5},
        {"blank_offset": 9},
        {"token_bytes": b"abc"},
        {
            "token_bytes": bytes(4 * MAX_REMEMBERED + 4),
            "rewind_floor": MAX_REMEMBERED,
            "tokens_read": MAX_REMEMBERED - 1,
        },
        {"seed": 2**64 - 1, "rewind_window": -1},
        {
            "text_start": 2**64 - 12,
            "tokens_read": 2**64 - 8,
            "rewind_floor": 2**64 - 6,
        },  # a text too long to count
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(change: dict[str, Any]) -> None:
    snapshot = replace(SESSION, **change)
    with pytest.raises(InvalidArgument, match="contradicts"):
        from_bytes(to_bytes(SnapshotFile(VERSION, "f" * 64, {}, snapshot)))
