"""The payloads of records: headers, changes and states as MessagePack, fields in a fixed order.

Fields may be added at the end of each, with a default; records without them stay readable.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from cellwire.model_file.text_end import TextEnd
from cellwire.server.state.change import Change, DoneKind, DoneOperation, StateRecord, joined
from cellwire.server.state.named_checkpoint import NamedCheckpoint
from cellwire.server.state.stored_session import Header
from cellwire.server.store.record import Damaged
from cellwire.server.store.tokens import pack_tokens, unpack_tokens


class _Header(msgspec.Struct, array_like=True, frozen=True):
    model_sha256: str
    seed: int
    rewind_window: int
    settings: Mapping[str, str | float]
    created_s: float
    text_start: int


class _Done(msgspec.Struct, array_like=True, frozen=True):
    operation_id: int
    kind: DoneKind
    offset: int
    log_probability: float
    reason: str
    appended_tokens: int
    generated_tokens: int
    stop_string: tuple[int, ...] | None
    stop_text: str
    error: str
    message: str
    name: str = ""


class _Change(msgspec.Struct, array_like=True, frozen=True):
    follows: int
    rows: int
    offset: int
    tokens: bytes
    end_text: str
    end_tokens: tuple[int, ...]
    at_beginning: bool
    rewind_floor: int
    blank_offset: int
    done: bytes


class _Checkpoint(msgspec.Struct, array_like=True, frozen=True):
    name: str
    offset: int
    end_text: str
    end_tokens: tuple[int, ...]
    at_beginning: bool


class _State(msgspec.Struct, array_like=True, frozen=True):
    tokens_read: int
    state: tuple[bytes, ...]


_Payload = TypeVar("_Payload")
_ENCODER = msgspec.msgpack.Encoder()
# Made before any thread decodes: msgspec looks at a type when it is first decoded, and two threads
# that do so at once for an Enum end the process.
_HEADERS = msgspec.msgpack.Decoder(_Header)
_CHANGES = msgspec.msgpack.Decoder(_Change)
_CHECKPOINTS = msgspec.msgpack.Decoder(_Checkpoint)
_STATES = msgspec.msgpack.Decoder(_State)
_DONE = msgspec.msgpack.Decoder(list[_Done])
_PLAIN, _COMPRESSED = b"\x00", b"\x01"
_COMPRESSED_FROM = 512  # bytes: the operations of a session are much alike


@dataclass(frozen=True, slots=True)
class ChangeRow:
    """A change as it is stored: a link of a chain, so that a lost one is missed."""

    change: Change
    follows: int = 0  # the revision of the change before it; 0: none, the text before is immutable
    rows: int = 1  # links of the chain up to this one


def folded(rows: Sequence[ChangeRow]) -> Change:
    """Return one change that does what a chain does."""
    change = rows[0].change
    for row in rows[1:]:
        change = joined(change, row.change)
    return change


def encode_header(header: Header) -> bytes:
    """Return the payload of a header."""
    return _ENCODER.encode(
        _Header(
            header.model_sha256,
            header.seed,
            header.rewind_window,
            header.settings,
            header.created_s,
            header.text_start,
        )
    )


def decode_header(payload: bytes) -> Header:
    """Return the header in a payload; Damaged."""
    stored = _decoded(payload, _HEADERS)
    return Header(**msgspec.structs.asdict(stored))


def encode_change(row: ChangeRow) -> bytes:
    """Return the payload of a change, without its revision, which is its place."""
    change = row.change
    return _ENCODER.encode(
        _Change(
            row.follows,
            row.rows,
            change.offset,
            pack_tokens(change.tokens),
            change.end.text,
            change.end.tokens,
            change.end.beginning,
            change.rewind_floor,
            change.blank_offset,
            _pack_done(change.done),
        )
    )


def decode_change(revision: int, payload: bytes) -> ChangeRow:
    """Return the change of a revision; Damaged."""
    stored = _decoded(payload, _CHANGES)
    change = Change(
        revision=revision,
        offset=stored.offset,
        tokens=unpack_tokens(stored.tokens),
        end=TextEnd(stored.end_text, stored.end_tokens, stored.at_beginning),
        rewind_floor=stored.rewind_floor,
        done=_unpack_done(stored.done),
        blank_offset=stored.blank_offset,
    )
    return ChangeRow(change, stored.follows, stored.rows)


def encode_state(record: StateRecord) -> bytes:
    """Return the payload of a state."""
    return _ENCODER.encode(_State(record.tokens_read, record.state))


def decode_state(payload: bytes) -> StateRecord:
    """Return the state in a payload; Damaged."""
    stored = _decoded(payload, _STATES)
    return StateRecord(stored.tokens_read, stored.state)


def encode_checkpoint(checkpoint: NamedCheckpoint) -> bytes:
    """Return the payload of what is known of a named checkpoint."""
    name, offset, end = checkpoint
    return _ENCODER.encode(_Checkpoint(name, offset, end.text, end.tokens, end.beginning))


def decode_checkpoint(payload: bytes) -> NamedCheckpoint:
    """Return what is known of a named checkpoint; Damaged."""
    stored = _decoded(payload, _CHECKPOINTS)
    end = TextEnd(stored.end_text, stored.end_tokens, stored.at_beginning)
    return NamedCheckpoint(stored.name, stored.offset, end)


def _pack_done(done: tuple[DoneOperation, ...]) -> bytes:
    """Return operations as bytes: nothing, or whether they are compressed, and MessagePack."""
    if not done:
        return b""
    packed = _ENCODER.encode([_stored_done(each) for each in done])
    if len(packed) < _COMPRESSED_FROM:
        return _PLAIN + packed
    return _COMPRESSED + zlib.compress(packed, level=1)


def _unpack_done(packed: bytes) -> tuple[DoneOperation, ...]:
    if not packed:
        return ()
    kind, data = packed[:1], packed[1:]
    try:
        plain = zlib.decompress(data) if kind == _COMPRESSED else data
    except zlib.error as error:
        raise Damaged(f"its operations cannot be read: {error}") from error
    stored = _decoded(plain, _DONE)
    return tuple(DoneOperation(**msgspec.structs.asdict(each)) for each in stored)


def _stored_done(done: DoneOperation) -> _Done:
    return _Done(
        done.operation_id,
        done.kind,
        done.offset,
        done.log_probability,
        done.reason,
        done.appended_tokens,
        done.generated_tokens,
        done.stop_string,
        done.stop_text,
        done.error,
        done.message,
        done.name,
    )


def _decoded(payload: bytes, decoder: msgspec.msgpack.Decoder[_Payload]) -> _Payload:
    try:
        return decoder.decode(payload)
    # Texts that are not UTF-8, and lists nested without end, raise errors of their own.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Damaged(f"its record cannot be read: {error}") from error
