"""Where things are in a Redis server.

A session is a hash and a list. Both names hold its id in braces, so that a cluster would keep them
together. The fields of the hash: the ones below, and the immutable text in rows of TEXT_TOKENS
tokens, under the offset of the first. The list has the changes since the state, oldest first.
Two sorted sets name all sessions, and those that expire. A named checkpoint has a hash and a list,
copies of its session's; one more hash has a record of each.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace

from cellwire.server.store.checks import Position
from cellwire.server.store.record import Damaged, Kind, seal, unseal

FORMAT = 1
FORMAT_KEY = "cellwire:format"
SESSIONS = "cellwire:sessions"
EXPIRIES = "cellwire:expiries"
DAEMON = "cellwire:daemon:"  # before the id of a daemon: its lease, and the channel to it

HEADER, STATE, EXPIRY, PLACE = "h", "s", "x", "p"
HOLDER, EPOCH, RELEASED = "o", "e", "r"
RESTORED = "g"  # the revision of the last restore, if there was one

TEXT_TOKENS = 1_008
"""Of a full text row: at a byte a token, the record takes no more than 1,024 in memory."""

MAX_CHAIN = 64
"""Longer chains of changes are folded, so that no session's list grows without bound."""

_PLACE = struct.Struct("<QQQQI")
_REVISION = struct.Struct("<Q")
_EXPIRY = struct.Struct("<d")


def hash_key(session_id: str) -> str:
    """Return the name of a session's hash."""
    return f"cellwire:{{{session_id}}}"


def list_key(session_id: str) -> str:
    """Return the name of a session's list of changes."""
    return f"cellwire:{{{session_id}}}:c"


def names_key(session_id: str) -> str:
    """Return the name of the hash with the record of each named checkpoint of a session."""
    return f"{hash_key(session_id)}:n"


def checkpoint_keys(session_id: str, name: str) -> tuple[str, str]:
    """Return the names of a checkpoint's hash, and of its list of changes."""
    key = f"{names_key(session_id)}:{name}"
    return key, f"{key}:c"


def text_field(start: int) -> str:
    """Return the field of the text row that begins at an offset."""
    return f"t{start}"


@dataclass(frozen=True, slots=True)
class Place:
    """How far a session has come, and so where its next change goes."""

    text_start: int  # offset of the first token that is stored
    position: Position
    chain: int  # changes in the list

    @property
    def row_start(self) -> int:
        """Where the last row of text begins, or the next if that one is full."""
        settled = self.position.settled
        return settled - (settled - self.text_start) % TEXT_TOKENS

    def seal(self, session_id: str) -> bytes:
        """Return the record of the place."""
        at = self.position
        payload = _PLACE.pack(self.text_start, at.settled, at.length, at.revision, self.chain)
        return seal(Kind.PLACE, session_id, 0, payload)


def unseal_place(session_id: str, record: bytes | None) -> Place:
    """Return the place in a record; Damaged."""
    payload = unseal(Kind.PLACE, session_id, 0, record or b"")
    if len(payload) != _PLACE.size:
        raise Damaged("its place record is cut off")
    text_start, settled, length, revision, chain = _PLACE.unpack(payload)
    return Place(text_start, Position(revision, length, settled), chain)


def seal_change(session_id: str, revision: int, payload: bytes) -> bytes:
    """Return a change as an item of the list: its revision, and its record."""
    return _REVISION.pack(revision) + seal(Kind.CHANGE, session_id, revision, payload)


def unseal_change(session_id: str, item: bytes) -> tuple[int, bytes]:
    """Return the revision and the payload in an item of the list; Damaged."""
    if len(item) < _REVISION.size:
        raise Damaged("its change record is too short")
    (revision,) = _REVISION.unpack_from(item)
    return revision, unseal(Kind.CHANGE, session_id, revision, item[_REVISION.size :])


def seal_expiry(session_id: str, expires_s: float) -> bytes:
    """Return the record of when a session expires."""
    return seal(Kind.EXPIRY, session_id, 0, _EXPIRY.pack(expires_s))


def unseal_expiry(session_id: str, record: bytes | None) -> float | None:
    """Return when a session expires; Damaged."""
    if record is None:
        return None
    payload = unseal(Kind.EXPIRY, session_id, 0, record)
    if len(payload) != _EXPIRY.size:
        raise Damaged("its expiry record is cut off")
    expires_s: float = _EXPIRY.unpack(payload)[0]
    return expires_s


def advanced(place: Place, position: Position, chain: int) -> Place:
    """Return the place at another position."""
    return replace(place, position=position, chain=chain)
