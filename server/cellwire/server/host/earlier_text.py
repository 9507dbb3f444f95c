"""The text of a durable session that is in the store and no longer in the process."""

from __future__ import annotations

from array import array
from collections.abc import Awaitable, Callable
from functools import partial
from typing import NamedTuple, TypeVar

from cellwire.model_file.vocabulary import MOST_INCOMPLETE, Vocabulary
from cellwire.server.batch.limits import MAX_MESSAGE_BYTES, REMEMBERED_TOKENS, STORED_TOKENS
from cellwire.server.errors import OutOfRange
from cellwire.server.host.call_engine import call_engine
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.stored_sessions import StoredSessions

T = TypeVar("T")

_OTHER_BYTES = 512 * 1024  # of a message that carries a text


class EarlierText(NamedTuple):
    """A part of a text, up to where its session remembers it."""

    offset: int
    before: tuple[int, ...]  # the last tokens before `offset`
    tokens: tuple[int, ...]
    restored_revision: int  # of the restore that the text is from, if there was one

    @property
    def end(self) -> int:
        """The offset of its end."""
        return self.offset + len(self.tokens)


async def reach_from(
    sessions: SessionDirectory, session_id: str, offset: int, *, takeover: bool = False
) -> tuple[SessionHandle, EarlierText | None]:
    """Return a session, and its text from `offset` on as far as it may not remember that itself.

    None if it remembers it. As `SessionDirectory.reach`; OutOfRange if the text from there on is
    more than a message holds, or was never stored.
    """
    session = await sessions.reach(session_id, takeover=takeover)
    stored = sessions.stored
    if stored is None or not isinstance(session, DurableSession):
        return session, None
    if offset >= session.record.changes.length - REMEMBERED_TOKENS:
        return session, None
    with stored.residents.kept(session_id):
        earlier = await of_one_time(session, lambda: _read_from(stored, session, offset))
        return await sessions.reach(session_id, takeover=takeover), earlier


async def of_one_time(session: DurableSession, read: Callable[[], Awaitable[T]]) -> T:
    """Return what `read` finds of a session's text in the store.

    It is read anew if the session was restored meanwhile.
    """
    changes = session.record.changes
    while True:
        restored = changes.restored_revision
        found = await read()
        if changes.restored_revision == restored:
            return found


def _has_other_text(session: DurableSession) -> bool:
    """Whether the store lags behind a restore."""
    return session.record.changes.restored_revision > session.record.safe.revision


async def _read_from(
    stored: StoredSessions, session: DurableSession, offset: int
) -> EarlierText | None:
    first = await _first_offset(stored, session)
    if offset < first:
        raise OutOfRange(
            f"the session's text is kept from offset {first} on, and not from {offset}"
        )
    changes = session.record.changes
    if offset < changes.length - STORED_TOKENS:
        raise _too_long(offset, changes.length, STORED_TOKENS)
    if _has_other_text(session):
        if offset >= await _remembered_from(session):
            return None
        await stored.made_safe(session.id)
    start = max(first, offset - MOST_INCOMPLETE)
    tokens = array("I")
    # Meanwhile the text may grow, and the session forget more of it.
    while (end := start + len(tokens)) < changes.length - REMEMBERED_TOKENS:
        # Beyond the floor, a rewind may change what was read.
        most = min(changes.rewind_floor, changes.length - REMEMBERED_TOKENS // 2)
        part = await _read(stored, session.id, end, most)
        if not part:  # the store lags behind
            if offset >= await _remembered_from(session):
                return None
            await stored.made_safe(session.id)
        tokens += part
    room = await in_own_thread("measure a text", partial(_room, session.model.vocabulary, tokens))
    if changes.length - offset > room:
        raise _too_long(offset, changes.length, room)
    before, after = tuple(tokens[: offset - start]), tuple(tokens[offset - start :])
    return EarlierText(offset, before, after, changes.restored_revision)


async def _remembered_from(session: DurableSession) -> int:
    """Return from which offset on the session remembers its text."""
    described = await call_engine(session.model, lambda engine: engine.describe(session.id))
    return described.text_start


async def text_before(stored: StoredSessions, session: DurableSession, end: int) -> array[int]:
    """Return all that is kept of a text before offset `end`, which no rewind may reach.

    OutOfRange if that is more than a message holds; Unavailable if the store lags behind.
    """
    start = await _first_offset(stored, session)
    if end - start > STORED_TOKENS:
        raise OutOfRange(
            f"the session's text has {end - start:,} tokens before those in memory, and a message "
            f"holds {STORED_TOKENS:,}; export the session from the store itself, with "
            "`cellwire sessions export --state DIR`"
        )
    if _has_other_text(session):
        await stored.made_safe(session.id)
    tokens = await _read(stored, session.id, start, end) if start < end else array("I")
    if start + len(tokens) < end:  # the store lags behind
        await stored.made_safe(session.id)
        tokens = await _read(stored, session.id, start, end)
    return tokens


async def _first_offset(stored: StoredSessions, session: DurableSession) -> int:
    """Return where a text begins that was stored: that of a fork or an import may begin later."""
    if not session.record.safe.point:  # not even the empty session is stored yet
        await stored.made_safe(session.id)
    head = await in_own_thread("look for a session", partial(stored.store.head, session.id))
    return head.header.text_start


async def _read(stored: StoredSessions, session_id: str, start: int, end: int) -> array[int]:
    """Return the tokens from offset `start` up to `end`, as far as the store has them."""
    return await in_own_thread("read a text", partial(stored.store.text, session_id, start, end))


def _room(vocabulary: Vocabulary, tokens: array[int]) -> int:
    """Return how many tokens a message holds that are like these."""
    text, _ = vocabulary.text(tokens)
    return int((MAX_MESSAGE_BYTES - _OTHER_BYTES) * len(tokens) / max(1, len(text.encode())))


def _too_long(offset: int, length: int, room: int) -> OutOfRange:
    return OutOfRange(
        f"the text from offset {offset} to {length} is longer than a message can be; attach from "
        f"offset {length - room} or later"
    )
