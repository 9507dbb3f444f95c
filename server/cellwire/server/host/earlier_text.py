"""The text of a durable session that is in the store and no longer in the process."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from cellwire.model_file.vocabulary import MOST_INCOMPLETE
from cellwire.server.batch.limits import REMEMBERED_TOKENS, STORED_TOKENS
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.host.session_handle import SessionHandle


class EarlierText(NamedTuple):
    """A part of a text, up to where its session remembers it."""

    offset: int
    before: tuple[int, ...]  # the last tokens before `offset`
    tokens: tuple[int, ...]

    @property
    def end(self) -> int:
        """The offset of its end."""
        return self.offset + len(self.tokens)


async def reach_from(
    sessions: SessionDirectory, session_id: str, offset: int, *, takeover: bool = False
) -> tuple[SessionHandle, EarlierText | None]:
    """Return a session, and its text from `offset` on as far as it does not remember that itself.

    None if it does, or if that is more than a message holds. As `SessionDirectory.reach`.
    """
    session = await sessions.reach(session_id, takeover=takeover)
    stored = sessions.stored
    if stored is None or not isinstance(session, DurableSession):
        return session, None
    length, restored = session.record.changes.length, session.record.changes.restored_revision
    end = length - REMEMBERED_TOKENS
    if not (length - STORED_TOKENS <= offset < end and _has_text_since(session, restored)):
        return session, None
    start = max(0, offset - MOST_INCOMPLETE)
    with stored.residents.kept(session_id):
        read = partial(stored.store.text, session_id, start, end)
        tokens = tuple(await in_own_thread("read a text", read))
        session = await sessions.reach(session_id, takeover=takeover)
    same = isinstance(session, DurableSession) and _has_text_since(session, restored)
    if not same or len(tokens) < end - start:  # the store lags behind
        return session, None
    return session, EarlierText(offset, tokens[: offset - start], tokens[offset - start :])


def _has_text_since(session: DurableSession, restored_revision: int) -> bool:
    """Whether a session was restored last at a revision, and the store has its text since then."""
    changes, safe = session.record.changes, session.record.safe
    return changes.restored_revision == restored_revision <= safe.revision
