"""A session as bytes: all that is needed to continue it bit for bit.

A snapshot holds one state, the oldest that a rewind may need. The others are restored by replaying
the tokens after it, when the session next takes a step.

Layout: MAGIC, the SHA-256 of the rest, and the rest: a MessagePack map that carries a version.
"""

from __future__ import annotations

import hashlib
import sys
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from cellwire.model_file.text_end import MAX_REREAD_CHARS, MAX_REREAD_TOKENS, TextEnd, Tokens
from cellwire.server.batch.limits import MAX_REWIND_WINDOW, STORED_TOKENS
from cellwire.server.batch.stepper import State
from cellwire.server.errors import FailedPrecondition, InvalidArgument
from cellwire.server.state.text_history import MAX_LENGTH, MAX_REMEMBERED

MAGIC = b"CELLWIRE SESSION"
VERSION = 1

_HEADER_BYTES = len(MAGIC) + hashlib.sha256().digest_size
_TOKEN = np.dtype("<u4")
_MAX_BYTES = (MAX_REMEMBERED + STORED_TOKENS) * _TOKEN.itemsize + 4_096  # all but the state


@dataclass(frozen=True, slots=True)
class SessionSnapshot:
    """A session without its id and its operations. The fields are the stored format."""

    seed: int
    rewind_window: int  # tokens
    rewind_floor: int  # the earliest offset it can be rewound to
    text_start: int  # the offset of the first remembered token
    token_bytes: bytes  # the remembered tokens, uint32 little-endian
    tokens_read: int  # of the whole text, by `state`
    state: State
    # The end of the text that is read again with what follows; nothing in older snapshots.
    end_text: str = ""
    end_tokens: int = 0  # the tokens that it was read to, the last of the text
    at_beginning: bool = False  # whether it begins the whole text
    # Where generated text begins with a blank that the client has already; -1: nowhere.
    blank_offset: int = -1

    @property
    def tokens(self) -> Tokens:
        """The remembered tokens, uint32 `[n]`."""
        return np.frombuffer(self.token_bytes, _TOKEN)

    @property
    def length(self) -> int:
        """The length of the whole text, in tokens."""
        return self.text_start + len(self.token_bytes) // _TOKEN.itemsize

    @property
    def text_end(self) -> TextEnd:
        """The end of the text that is read again with what follows."""
        tokens = self.tokens[len(self.tokens) - self.end_tokens :].tolist()
        return TextEnd(self.end_text, tuple(tokens), self.at_beginning)

    @property
    def consistent(self) -> bool:
        """Whether the fields describe a possible session, of no more text than is exported."""
        return self.length - self.text_start <= MAX_REMEMBERED and self.may_go_on

    @property
    def may_go_on(self) -> bool:
        """Whether the fields describe a possible session."""
        return (
            len(self.token_bytes) % _TOKEN.itemsize == 0
            and 0 <= self.seed < 2**64
            and 0 <= self.rewind_window <= MAX_REWIND_WINDOW
            and 0 <= self.text_start <= self.tokens_read <= max(0, self.rewind_floor - 1)
            and max(0, self.length - self.rewind_window) <= self.rewind_floor
            and self.rewind_floor <= self.length <= MAX_LENGTH
            and 0 <= self.end_tokens <= min(MAX_REREAD_TOKENS, self.length - self.text_start)
            and len(self.end_text) <= MAX_REREAD_CHARS
            and -1 <= self.blank_offset <= self.length
        )


def to_token_bytes(tokens: Sequence[int]) -> bytes:
    """Return tokens as a snapshot stores them."""
    return np.asarray(tokens, _TOKEN).tobytes()


def from_token_bytes(token_bytes: bytes) -> array[int]:
    """Return the tokens that a snapshot stores."""
    tokens = array("I", token_bytes)
    if sys.byteorder == "big":
        tokens.byteswap()
    return tokens


class SnapshotFile(msgspec.Struct, frozen=True):
    """A session, its model and its settings."""

    version: int
    model_sha256: str
    settings: Mapping[str, str | float]  # of the host, by name; their meaning is not known here
    session: SessionSnapshot
    earlier: bytes = b""  # the text before what the session remembers, as its store packs tokens


def to_bytes(snapshot: SnapshotFile) -> bytes:
    """Return a snapshot as bytes."""
    body = msgspec.msgpack.encode(snapshot)
    return MAGIC + hashlib.sha256(body).digest() + body


def from_bytes(data: bytes, max_state_bytes: int) -> SnapshotFile:
    """Return the snapshot in `data`.

    InvalidArgument if it is truncated, altered or of another version. FailedPrecondition if it is
    longer than any text with a state of `max_state_bytes`: it is then refused unread.
    """
    if not data.startswith(MAGIC):
        raise InvalidArgument(
            "the bytes are not a session's snapshot; send all that an export has returned"
        )
    if len(data) > _MAX_BYTES + max_state_bytes:
        raise FailedPrecondition(
            f"the snapshot has {len(data):,} bytes; a session of the models that are served has "
            f"at most {_MAX_BYTES + max_state_bytes:,}"
        )
    body = data[_HEADER_BYTES:]
    if hashlib.sha256(body).digest() != data[len(MAGIC) : _HEADER_BYTES]:
        raise InvalidArgument("the snapshot was truncated or altered: its checksum is wrong")
    snapshot = _decoded(body)
    if not snapshot.session.consistent:
        raise InvalidArgument("the snapshot contradicts itself")
    return snapshot


def _decoded(body: bytes) -> SnapshotFile:
    try:
        version = msgspec.msgpack.decode(body, type=_Versioned).version
        if version != VERSION:
            raise InvalidArgument(
                f"the snapshot has version {version}; this daemon reads version {VERSION}"
            )
        return msgspec.msgpack.decode(body, type=SnapshotFile)
    # Texts that are not UTF-8, and maps nested without end, raise errors of their own.
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidArgument(f"the snapshot cannot be read: {error}") from error


class _Versioned(msgspec.Struct):
    version: int
