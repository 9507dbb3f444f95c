"""What is read of sessions in a Redis server."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import replace

from cellwire.model_file.text_end import BEGINNING
from cellwire.server.errors import DamagedRecord, StoreFailed
from cellwire.server.state.stored_session import StoredHead, StoredSession
from cellwire.server.store.checks import damaged, no_checkpoint, not_stored
from cellwire.server.store.record import Damaged
from cellwire.server.store.redis_keys import (
    EXPIRIES,
    EXPIRY,
    HEADER,
    PLACE,
    RESTORED,
    SESSIONS,
    STATE,
    TEXT_TOKENS,
    Place,
    checkpoint_keys,
    hash_key,
    list_key,
    names_key,
    text_field,
    unseal_expiry,
    unseal_place,
)
from cellwire.server.store.redis_link import Read, RedisLink
from cellwire.server.store.redis_rows import (
    HEAD_FIELDS,
    read_checkpoints,
    read_head,
    read_row,
    read_state,
    read_tail,
)

_ATTEMPTS = 5

SAME_FIELDS = (HEADER, RESTORED)
"""While these stay, so does immutable text."""


class _Changed:
    """The session has another text than when its reading began."""


class RedisReader:
    """Reads sessions. Immutable text is read after the rest, and belongs to it even so."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link

    def load(self, session_id: str, last_tokens: int) -> StoredSession:
        """Return a session with its last tokens."""
        keys = hash_key(session_id), list_key(session_id)
        found = self._load(session_id, keys, last_tokens)
        if found is None:
            raise not_stored(session_id)
        return found

    def load_checkpoint(self, session_id: str, name: str, last_tokens: int) -> StoredSession:
        """Return a session as it was at a named checkpoint."""
        keys = checkpoint_keys(session_id, name)
        found = self._load(session_id, keys, last_tokens)
        if found is None:
            raise no_checkpoint(session_id, name)
        return replace(found, checkpoints=())

    def head(self, session_id: str) -> StoredHead:
        """Return a session without text and state."""
        with _told_of(session_id):
            (fields,) = self._link.read(("HMGET", hash_key(session_id), *HEAD_FIELDS))
            head = read_head(session_id, fields)
        if head is None:
            raise not_stored(session_id)
        return head

    def text(self, session_id: str, start: int, end: int) -> array[int]:
        """Return a part of a text."""
        with _told_of(session_id):
            for _ in range(_ATTEMPTS):
                fields, items = self._link.read(
                    ("HMGET", hash_key(session_id), *SAME_FIELDS, PLACE),
                    ("LRANGE", list_key(session_id), 0, -1),
                )
                *same, record = fields
                if same[0] is None and record is None:
                    raise not_stored(session_id)
                place = unseal_place(session_id, record)
                tail = read_tail(session_id, items, place)
                settled = place.position.settled
                first = max(start, place.text_start)
                key = hash_key(session_id)
                tokens = self._rows(session_id, key, same, place, first, min(end, settled))
                if tokens is not None:
                    added = tail.tokens if tail else array("I")
                    return tokens + added[max(0, first - settled) : max(0, end - settled)]
        raise StoreFailed(f"the session {session_id!r} is made anew again and again")

    def sessions(self, after: str = "", limit: int = 100) -> list[StoredHead | DamagedRecord]:
        """Return sessions in the order of their ids."""
        heads: list[StoredHead | DamagedRecord] = []
        while len(heads) < limit:
            most = limit - len(heads)
            (found,) = self._link.read(
                ("ZRANGEBYLEX", SESSIONS, f"({after}", "+", "LIMIT", 0, most)
            )
            ids = [name.decode(errors="replace") for name in found]
            heads += self._heads(ids)
            if len(ids) < most:
                break
            after = ids[-1]
        return heads

    def expired(self, now_s: float, limit: int = 100) -> list[str]:
        """Return the ids of sessions that have expired."""
        due: list[str] = []
        skipped = 0
        while len(due) < limit:
            (found,) = self._link.read(
                ("ZRANGEBYSCORE", EXPIRIES, "-inf", repr(now_s), "LIMIT", skipped, limit)
            )
            ids = [name.decode(errors="replace") for name in found]
            for session_id, read in zip(ids, self._each(ids, EXPIRY), strict=True):
                # A session whose expiry is damaged is kept.
                with contextlib.suppress(Damaged):
                    expires_s = unseal_expiry(session_id, read()[0])
                    if expires_s is not None and expires_s <= now_s:
                        due.append(session_id)
            if len(ids) < limit:
                break
            skipped += limit
        return due[:limit]

    def _load(
        self, session_id: str, keys: tuple[str, str], last_tokens: int
    ) -> StoredSession | None:
        """Return a session, or a checkpoint; None if it is not there."""
        with _told_of(session_id):
            for _ in range(_ATTEMPTS):
                found = self._load_once(session_id, keys, last_tokens)
                if not isinstance(found, _Changed):
                    return found
        raise StoreFailed(f"the session {session_id!r} is made anew again and again")

    def _load_once(
        self, session_id: str, keys: tuple[str, str], last_tokens: int
    ) -> StoredSession | _Changed | None:
        fields, items, names = self._link.read(
            ("HMGET", keys[0], *HEAD_FIELDS, STATE, *SAME_FIELDS),
            ("LRANGE", keys[1], 0, -1),
            ("HVALS", names_key(session_id)),
        )
        head_fields, state_record = fields[: len(HEAD_FIELDS)], fields[len(HEAD_FIELDS)]
        same = fields[len(HEAD_FIELDS) + 1 :]
        head = read_head(session_id, head_fields)
        if head is None:
            return None
        place = unseal_place(session_id, fields[1])
        state = read_state(session_id, state_record, place)
        tail = read_tail(session_id, items, place)
        settled = place.position.settled
        start = max(place.text_start, min(settled, head.length - last_tokens))
        tokens = self._rows(session_id, keys[0], same, place, start, settled)
        if tokens is None:
            return _Changed()
        if tail is None:
            return StoredSession(head, start, tokens, None, BEGINNING, 0, -1, ())
        return StoredSession(
            head=head,
            text_start=start,
            tokens=tokens + tail.tokens,
            state=state,
            end=tail.end,
            rewind_floor=tail.rewind_floor,
            blank_offset=tail.blank_offset,
            done=tail.done,
            checkpoints=read_checkpoints(session_id, names),
        )

    def _rows(
        self,
        session_id: str,
        key: str,
        same: Sequence[bytes | None],
        place: Place,
        start: int,
        end: int,
    ) -> array[int] | None:
        """Return immutable text; None if the session is another now, or was restored. Damaged."""
        if start >= end:
            return array("I")
        first = start - (start - place.text_start) % TEXT_TOKENS
        starts = range(first, end, TEXT_TOKENS)
        fields = map(text_field, starts)
        (found,) = self._link.read(("HMGET", key, *SAME_FIELDS, *fields))
        now, records = found[: len(SAME_FIELDS)], found[len(SAME_FIELDS) :]
        if now != same:
            return None
        tokens = array("I")
        for at, record in zip(starts, records, strict=True):
            tokens += read_row(session_id, at, record, min(TEXT_TOKENS, end - at))
        return tokens[start - first :]

    def _heads(self, ids: Sequence[str]) -> Iterator[StoredHead | DamagedRecord]:
        for session_id, read in zip(ids, self._each(ids, *HEAD_FIELDS), strict=True):
            try:
                head = read_head(session_id, read())
            except Damaged as error:
                yield damaged(session_id, error)
            else:
                if head is not None:  # it may have been deleted meanwhile
                    yield head

    def _each(self, ids: Sequence[str], *fields: str) -> list[Read]:
        """Return, for each session, what returns these fields or raises Damaged."""
        return self._link.read_each([("HMGET", hash_key(name), *fields) for name in ids])


@contextlib.contextmanager
def _told_of(session_id: str) -> Iterator[None]:
    """Turn what is found damaged into a DamagedRecord of a session."""
    try:
        yield
    except Damaged as error:
        raise damaged(session_id, error) from error
