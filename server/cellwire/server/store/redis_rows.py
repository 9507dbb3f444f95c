"""A session's records as a Redis server returns them."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from cellwire.server.state.change import Change, StateRecord
from cellwire.server.state.named_checkpoint import NamedCheckpoint
from cellwire.server.state.stored_session import Header, StoredHead
from cellwire.server.store.payload import (
    ChangeRow,
    decode_change,
    decode_checkpoint,
    decode_header,
    decode_state,
    folded,
)
from cellwire.server.store.record import Damaged, Kind, unseal
from cellwire.server.store.redis_keys import (
    EPOCH,
    EXPIRY,
    HEADER,
    HOLDER,
    PLACE,
    RELEASED,
    Place,
    unseal_change,
    unseal_expiry,
    unseal_place,
)
from cellwire.server.store.tokens import unpack_tokens

HEAD_FIELDS = (HEADER, PLACE, EXPIRY)
HELD_FIELDS = (HEADER, HOLDER, EPOCH, RELEASED, PLACE)


@dataclass(frozen=True, slots=True)
class Held:
    """Who holds a session, and how far it has come: HELD_FIELDS."""

    session_id: str
    header: bytes | None
    holder: str  # a daemon's id; "": nobody
    epoch: int
    released: int  # the epoch that was released last
    place: bytes | None

    @classmethod
    def read(cls, session_id: str, fields: Sequence[bytes | None]) -> Held | None:
        """Return what the fields say; None if there is no session."""
        if all(field is None for field in fields):
            return None
        header, holder, epoch, released, place = fields
        name = (holder or b"").decode(errors="replace")
        return cls(session_id, header, name, _number(epoch), _number(released), place)

    def has_come_to(self) -> Place:
        """Return the place; Damaged."""
        return unseal_place(self.session_id, self.place)


def _number(field: bytes | None) -> int:
    return int(field) if field and field.isdigit() else 0


def read_head(session_id: str, fields: Sequence[bytes | None]) -> StoredHead | None:
    """Return a session without text and state from HEAD_FIELDS; None if there is none. Damaged."""
    if all(field is None for field in fields):
        return None
    header, place, expiry = fields
    at = unseal_place(session_id, place).position
    return StoredHead(
        session_id=session_id,
        header=read_header(session_id, header),
        revision=at.revision,
        length=at.length,
        expires_s=unseal_expiry(session_id, expiry),
    )


def read_header(session_id: str, record: bytes | None) -> Header:
    """Return the header in a record; Damaged."""
    return decode_header(unseal(Kind.HEADER, session_id, 0, record or b""))


def read_state(session_id: str, record: bytes | None, place: Place) -> StateRecord | None:
    """Return the state in a record, if there is one; Damaged."""
    state = None
    if record is not None:
        state = decode_state(unseal(Kind.STATE, session_id, 0, record))
    if place.position.settled != (state.tokens_read if state else place.text_start):
        raise Damaged("its state and its text do not belong together")
    return state


def read_chain(session_id: str, items: Sequence[bytes], place: Place) -> list[ChangeRow]:
    """Return the changes in a list's items; Damaged."""
    rows = []
    last = 0
    for item in items:
        revision, payload = unseal_change(session_id, item)
        row = decode_change(revision, payload)
        if row.follows != last:
            raise Damaged(f"the change before revision {revision} is missing")
        rows.append(row)
        last = revision
    if last != place.position.revision or len(rows) != place.chain:
        raise Damaged(f"its changes end at revision {last}, and it has come further")
    return rows


def read_tail(session_id: str, items: Sequence[bytes], place: Place) -> Change | None:
    """Return the changes as one, which begins where the text ends; Damaged."""
    rows = read_chain(session_id, items, place)
    if not rows:
        return None
    tail = folded(rows)
    if (tail.offset, tail.length) != (place.position.settled, place.position.length):
        raise Damaged("its changes and its text do not belong together")
    return tail


def read_checkpoints(session_id: str, records: Sequence[bytes]) -> tuple[NamedCheckpoint, ...]:
    """Return what is known of named checkpoints, in the order of names, without damaged ones."""
    found = []
    for record in records:
        with contextlib.suppress(Damaged):  # the session itself can be read
            found.append(decode_checkpoint(unseal(Kind.CHECKPOINT, session_id, 0, record)))
    return tuple(sorted(found))


def read_row(session_id: str, start: int, record: bytes | None, tokens: int) -> array[int]:
    """Return the tokens of a text row, of which there are so many or more; Damaged."""
    if record is None:
        raise Damaged(f"a part of its text from offset {start} is missing")
    found = unpack_tokens(unseal(Kind.TEXT, session_id, start, record))
    if len(found) < tokens:
        raise Damaged(f"a part of its text from offset {start + len(found)} is missing")
    return found[:tokens]
