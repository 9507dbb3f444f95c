"""A session as it goes on from what a store has kept of it."""

from __future__ import annotations

from cellwire.server.errors import InvalidArgument
from cellwire.server.state.snapshot import SessionSnapshot, to_token_bytes
from cellwire.server.state.stored_session import StoredSession
from cellwire.server.state.text_history import MAX_REMEMBERED


def resumed(stored: StoredSession) -> SessionSnapshot:
    """Return the session to go on with: no more of its text than sessions remember.

    More only if its state has read less: the rest is then replayed. Without a state, that is the
    whole text. InvalidArgument if the parts contradict each other.
    """
    header = stored.head.header
    tokens_read, state = (stored.state.tokens_read, stored.state.state) if stored.state else (0, ())
    length = stored.text_start + len(stored.tokens)
    start = max(stored.text_start, min(length - MAX_REMEMBERED, tokens_read))
    snapshot = SessionSnapshot(
        seed=header.seed,
        rewind_window=header.rewind_window,
        rewind_floor=stored.rewind_floor,
        text_start=start,
        token_bytes=to_token_bytes(stored.tokens[start - stored.text_start :]),
        tokens_read=tokens_read,
        state=state,
        end_text=stored.end.text,
        end_tokens=len(stored.end.tokens),
        at_beginning=stored.end.beginning,
        blank_offset=stored.blank_offset,
    )
    if length != stored.head.length or not snapshot.may_go_on:
        raise InvalidArgument("what is stored of the session contradicts itself")
    return snapshot
