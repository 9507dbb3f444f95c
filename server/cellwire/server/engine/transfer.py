"""Sessions to snapshots, and back."""

from __future__ import annotations

from cellwire.server.batch.stepper import Stepper
from cellwire.server.errors import CellwireError, StepFailed
from cellwire.server.session.events import StateRead
from cellwire.server.session.session import Session
from cellwire.server.state.arena import Arena
from cellwire.server.state.snapshot import SessionSnapshot, from_token_bytes, to_token_bytes
from cellwire.server.state.state_history import StateHistory
from cellwire.server.state.text_history import TextHistory


def to_snapshot(session: Session, stepper: Stepper) -> SessionSnapshot:
    """Return a session at this moment, without its operations and the tokens held back."""
    length = session.told_text.reported
    return history_snapshot(session.state_history, length, session.seed, stepper)


def history_snapshot(
    history: StateHistory, length: int, seed: int, stepper: Stepper
) -> SessionSnapshot:
    """Return a session of the first `length` tokens of a text; StepFailed."""
    tokens = history.text.between(history.text.start, length)
    tokens_read, state = history.oldest_state(stepper.read_state)
    return SessionSnapshot(
        seed=seed,
        rewind_window=history.window,
        rewind_floor=history.rewind_floor,
        text_start=history.text.start,
        token_bytes=to_token_bytes(tokens),
        tokens_read=tokens_read,
        state=state,
        end_text=history.text.end.text,
        end_tokens=len(history.text.end.tokens),
        at_beginning=history.text.end.beginning,
        blank_offset=history.text.blank_offset,
    )


def snapshot_of_copy(copy: StateHistory, seed: int, stepper: Stepper) -> SessionSnapshot:
    """Return a copy before it becomes a session. If that fails, release it: StepFailed."""
    try:
        return history_snapshot(copy, len(copy), seed, stepper)
    except CellwireError:
        copy.release()
        raise


def state_read(session: Session, stepper: Stepper) -> StateRead | None:
    """Return the report of a session's oldest state; None if it cannot be read."""
    try:
        return StateRead(session.id, *session.state_history.oldest_state(stepper.read_state))
    except StepFailed:
        return None


def from_snapshot(snapshot: SessionSnapshot, arena: Arena, stepper: Stepper) -> StateHistory:
    """Return the text and the state of a snapshot. ResourceExhausted, InvalidArgument."""
    # Copied as bytes: 163,000 tokens one by one would hold the engine up for milliseconds.
    text = TextHistory(snapshot.text_start, from_token_bytes(snapshot.token_bytes))
    text.end, text.blank_offset = snapshot.text_end, snapshot.blank_offset
    history = StateHistory.from_snapshot(
        arena, snapshot.rewind_window, text, snapshot.rewind_floor, snapshot.tokens_read
    )
    try:
        if snapshot.tokens_read:
            stepper.write_state(history.head.slot, snapshot.state)
    except CellwireError:
        history.release()
        raise
    return history
