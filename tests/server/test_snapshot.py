"""A session as bytes: whole, or refused."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.server.errors import InvalidRequest
from cellwire.server.snapshot import MAGIC, VERSION, Frozen, Snapshot, from_bytes, to_bytes

FROZEN = Frozen(
    seed=7, window=4, floor=6, start=0, tokens=(1, 2, 3, 4, 5, 6, 7, 8), read=4, state=(b"abcd",)
)
SNAPSHOT = Snapshot(VERSION, "f" * 64, {"idle_timeout_s": 600}, FROZEN)


def test_what_went_in_comes_out() -> None:
    assert from_bytes(to_bytes(SNAPSHOT)) == SNAPSHOT


@given(st.data())
def test_no_byte_may_change_or_be_missing(data: st.DataObject) -> None:
    whole = to_bytes(SNAPSHOT)
    place = data.draw(st.integers(0, len(whole) - 1))
    altered = bytearray(whole)
    altered[place] ^= data.draw(st.integers(1, 255))
    for broken in (whole[:place], bytes(altered)):
        with pytest.raises(InvalidRequest):
            from_bytes(broken)


@given(st.binary())
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(InvalidRequest):
        from_bytes(data)


def sealed(body: bytes) -> bytes:
    return MAGIC + hashlib.sha256(body).digest() + body


def test_another_version_is_refused() -> None:
    with pytest.raises(InvalidRequest, match="version 99"):
        from_bytes(sealed(msgspec.msgpack.encode({"version": 99})))


@pytest.mark.parametrize(
    "lie",
    [
        {"window": 5_000},
        {"floor": 99},
        {"floor": 3},  # further back than the window
        {"read": 6},  # a state that has read past the floor
        {"read": -1},
        {"start": 5},
        {"seed": 2**64 - 1, "window": -1},
        {"start": 2**64 - 12, "read": 2**64 - 8, "floor": 2**64 - 6},  # a text too long to count
    ],
)
def test_a_snapshot_that_contradicts_itself_is_refused(lie: dict[str, int]) -> None:
    frozen = replace(FROZEN, **lie)  # type: ignore[arg-type]  # all of them are numbers
    with pytest.raises(InvalidRequest, match="contradicts"):
        from_bytes(to_bytes(Snapshot(VERSION, "f" * 64, {}, frozen)))
