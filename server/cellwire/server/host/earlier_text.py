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
    length = session.record.changes.length
    end = length - REMEMBERED_TOKENS
    if not length - STORED_TOKENS <= offset < end:
        return session, None
    start = max(0, offset - MOST_INCOMPLETE)
    with stored.residents.kept(session_id):
        read = partial(stored.store.text, session_id, start, end)
        tokens = tuple(await in_own_thread("read a text", read))
        session = await sessions.reach(session_id, takeover=takeover)
    if len(tokens) < end - start:  # the store lags behind
        return session, None
    return session, EarlierText(offset, tokens[: offset - start], tokens[offset - start :])
