"""A session as bytes: everything that is needed to go on from it bit for bit.

It holds one state only, the oldest that a rewind may need; the others come back as the tokens after
it are read again, which happens when the session is next asked for something.

Layout: MAGIC, the SHA-256 of the rest, and the rest: a MessagePack map with a version in it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from cellwire.model_file.vocabulary import Tokens
from cellwire.server.batch.stepper import State
from cellwire.server.errors import FailedPrecondition, InvalidArgument
from cellwire.server.state.state_history import MAX_WINDOW, interval_of
from cellwire.server.state.text_history import LONGEST, MOST_REMEMBERED

MAGIC = b"CELLWIRE SESSION"
VERSION = 1

_HEAD_BYTES = len(MAGIC) + hashlib.sha256().digest_size
_TOKEN = np.dtype("<u4")
_MOST_BYTES = MOST_REMEMBERED * _TOKEN.itemsize + 4_096  # of all but the state


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """All of a session but its id and operations."""

    seed: int
    window: int  # how far back it can be rewound
    floor: int  # the earliest offset it can be rewound to at present
    start: int  # the place of the first of `tokens` in the whole text
    packed: bytes  # the tokens: a long text is packed and unpacked at once, not one by one
    read: int  # how many tokens of the whole text `state` has read
    state: State

    @property
    def tokens(self) -> Tokens:
        """What is remembered of the text, uint32 `[n]`."""
        return np.frombuffer(self.packed, _TOKEN)

    @property
    def length(self) -> int:
        """The length of the whole text."""
        return self.start + len(self.packed) // _TOKEN.itemsize

    @property
    def consistent(self) -> bool:
        """Whether a session can be like this."""
        reached = max(0, self.floor - 1)  # what must have been read to go on from the floor
        return (
            len(self.packed) % _TOKEN.itemsize == 0
            and self.length - self.start <= MOST_REMEMBERED
            and 0 <= self.seed < 2**64
            and 0 <= self.window <= MAX_WINDOW
            and 0 <= self.start <= self.read <= reached <= self.read + interval_of(self.window)
            and max(0, self.length - self.window) <= self.floor <= self.length <= LONGEST
        )


def packed(tokens: Sequence[int]) -> bytes:
    """Return tokens as Frozen holds them."""
    return np.asarray(tokens, _TOKEN).tobytes()


class Snapshot(msgspec.Struct, frozen=True):
    """A session, and what it belongs to."""

    version: int
    model_sha256: str
    settings: dict[str, int]  # what its open asked for, beyond what concerns the engine
    session: SessionSnapshot


def to_bytes(snapshot: Snapshot) -> bytes:
    """Return a snapshot as bytes."""
    body = msgspec.msgpack.encode(snapshot)
    return MAGIC + hashlib.sha256(body).digest() + body


def from_bytes(data: bytes, largest_state: int) -> Snapshot:
    """Return the snapshot in `data`; InvalidRequest if it is not whole, or of another version.

    WrongState if it takes more than a state of `largest_state` bytes and a text can: reading on
    would take long, for nothing.
    """
    if not data.startswith(MAGIC):
        raise InvalidArgument("the bytes are no snapshot of a session")
    if len(data) > _MOST_BYTES + largest_state:
        raise FailedPrecondition(
            f"the snapshot has {len(data):,} bytes; of the models that this daemon serves, no "
            f"session has more than {_MOST_BYTES + largest_state:,}"
        )
    body = data[_HEAD_BYTES:]
    if hashlib.sha256(body).digest() != data[len(MAGIC) : _HEAD_BYTES]:
        raise InvalidArgument("the snapshot has been truncated or altered: its checksum is wrong")
    try:
        version = msgspec.msgpack.decode(body, type=_Versioned).version
        if version != VERSION:
            raise InvalidArgument(
                f"the snapshot has version {version}; this daemon reads {VERSION}"
            )
        snapshot = msgspec.msgpack.decode(body, type=Snapshot)
    # Texts that are not UTF-8, and maps within maps without end, raise errors of their own.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"the snapshot cannot be read: {error}") from error
    if not snapshot.session.consistent:
        raise InvalidArgument("the snapshot contradicts itself")
    return snapshot


class _Versioned(msgspec.Struct):
    version: int
