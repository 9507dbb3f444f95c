"""The seals of records, and what is in them."""

from __future__ import annotations

from array import array
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.server.store.stored import HEADER, ONE, TWO, change, state

from cellwire.server.state.change import DoneKind, DoneOperation
from cellwire.server.store import record
from cellwire.server.store.payload import (
    ChangeRow,
    decode_change,
    decode_header,
    decode_state,
    encode_change,
    encode_header,
    encode_state,
)
from cellwire.server.store.record import Damaged, Kind, seal, unseal
from cellwire.server.store.tokens import pack_tokens, unpack_tokens

DONE = DoneOperation(
    operation_id=2**63,
    kind=DoneKind.FINISHED,
    offset=2**40,
    log_probability=-0.5,
    reason="stop",
    appended_tokens=3,
    generated_tokens=4,
    stop_string=(1, 2),
    stop_text="ünd",
    error="OutOfRange",
    message="beyond the text",
)


def test_a_seal_holds_its_payload_and_its_place() -> None:
    sealed = seal(Kind.TEXT, ONE, 5, b"payload")
    assert unseal(Kind.TEXT, ONE, 5, sealed) == b"payload"
    for kind, session_id, position in [
        (Kind.CHANGE, ONE, 5),
        (Kind.TEXT, TWO, 5),
        (Kind.TEXT, ONE, 6),
    ]:
        with pytest.raises(Damaged, match="another checksum"):
            unseal(kind, session_id, position, sealed)


@given(st.integers(0, 11), st.integers(1, 255))
def test_any_altered_byte_is_found(at: int, change_by: int) -> None:
    sealed = bytearray(seal(Kind.TEXT, ONE, 5, b"payload"))
    sealed[at] ^= change_by
    with pytest.raises(Damaged):
        unseal(Kind.TEXT, ONE, 5, bytes(sealed))


def test_another_version_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    sealed = seal(Kind.STATE, ONE, 0, b"")
    monkeypatch.setattr(record, "VERSION", 2)
    with pytest.raises(Damaged, match=r"state record has version 1, and this daemon reads .* 2"):
        unseal(Kind.STATE, ONE, 0, sealed)


@pytest.mark.parametrize(
    ("position", "sealed", "match"),
    [
        (0, b"abc", "too short"),
        (0, "text", "too short"),
        ("5", b"abcdef", "nowhere"),
        (-1, b"abcdef", "nowhere"),
    ],
)
def test_whatever_a_damaged_file_returns_is_damage(
    position: int, sealed: bytes, match: str
) -> None:
    with pytest.raises(Damaged, match=match):
        unseal(Kind.STATE, ONE, position, sealed)


@pytest.mark.parametrize(
    ("tokens", "size"),
    [([], 1), ([0, 255], 3), ([256], 3), ([65_535], 3), ([65_536, 1], 9), ([2**32 - 1], 5)],
)
def test_tokens_take_as_many_bytes_as_they_need(tokens: list[int], size: int) -> None:
    packed = pack_tokens(array("I", tokens))
    assert len(packed) == size
    assert unpack_tokens(packed) == array("I", tokens)


@pytest.mark.parametrize("packed", [b"", b"\x03abc", b"\x02abc"])
def test_tokens_that_are_cut_off_are_found(packed: bytes) -> None:
    with pytest.raises(Damaged, match="cut off"):
        unpack_tokens(packed)


@pytest.mark.parametrize("operations", [0, 1, 64])
def test_a_change_comes_back(operations: int) -> None:
    whole = replace(change(7, 3, [1, 2]), done=(DONE,) * operations, blank_offset=4)
    row = ChangeRow(whole, follows=6, rows=3)
    payload = encode_change(row)
    assert decode_change(7, payload) == row
    assert len(payload) < 400


def test_a_header_and_a_state_come_back() -> None:
    header = replace(HEADER, settings={"name": "text", "number": 0.5}, seed=2**64 - 1)
    assert decode_header(encode_header(header)) == header
    assert decode_state(encode_state(state(9))) == state(9)


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\x91" * 5_000, encode_state(state(1))])
def test_a_payload_of_another_kind_is_damage(payload: bytes) -> None:
    with pytest.raises(Damaged):
        decode_header(payload)


def test_operations_that_cannot_be_read_are_damage() -> None:
    payload = encode_change(ChangeRow(replace(change(1, 0), done=(DONE,) * 64)))
    start = payload.index(b"\x01\x78\x01")  # of what is compressed
    altered = payload[: start + 1] + b"no zlib" + payload[start + 8 :]
    with pytest.raises(Damaged, match="operations"):
        decode_change(1, altered)
