"""A session as it goes on from what a store has kept of it."""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from cellwire.model_file.text_end import BEGINNING
from cellwire.server.errors import InvalidArgument
from cellwire.server.state.change import Change, StateRecord, joined
from cellwire.server.state.snapshot import SessionSnapshot, to_token_bytes
from cellwire.server.state.text_history import MAX_REMEMBERED


def resumed(
    seed: int,
    rewind_window: int,
    text: array[int],
    state: StateRecord | None,
    changes: Sequence[Change],
) -> SessionSnapshot:
    """Return the session that has gone through `changes`, the last of all its changes included.

    `text` holds the last tokens before `state.tokens_read`, MAX_REMEMBERED or all; `changes` are
    those after, without the tokens that the state has read (see `after_state`). With no state,
    `text` is empty, and all tokens are replayed. InvalidArgument if the parts contradict each
    other.
    """
    tokens_read, state_of_cell = (state.tokens_read, state.state) if state else (0, ())
    if not changes:
        if text or tokens_read:
            raise InvalidArgument("the stored session has a text, and no change that made it")
        return SessionSnapshot(
            seed, rewind_window, 0, 0, b"", 0, (), at_beginning=BEGINNING.beginning
        )
    for change in changes:
        pass
    last = joined(changes)
    return None
