"""A session's events as changes of its text, for a store."""

from __future__ import annotations

from array import array
from collections import deque
from collections.abc import Iterable, Sequence

from cellwire.model_file.text_end import BEGINNING, SETTLED, TextEnd
from cellwire.server.session.done_operation import done_operation
from cellwire.server.session.events import (
    Appended,
    Checkpointed,
    CheckpointRestored,
    Discarded,
    Event,
    Finished,
    Rejected,
    Rewound,
    Written,
)
from cellwire.server.state.change import (
    REMEMBERED_OPERATIONS,
    Change,
    DoneOperation,
    Restoration,
    StateRecord,
)
from cellwire.server.state.named_checkpoint import NamedCheckpoint
from cellwire.server.state.snapshot import SessionSnapshot, from_token_bytes


class ChangeLog:
    """Follows one session, and numbers its changes. Knows the length of the text, not the text.

    `done` has the last operations that the session has carried out, the oldest first; `checkpoints`
    the named checkpoints that there are.
    """

    __slots__ = (
        "_blank_offset",
        "_end",
        "checkpoints",
        "done",
        "length",
        "restored_revision",
        "revision",
        "rewind_floor",
        "rewind_window",
    )

    def __init__(self, rewind_window: int) -> None:
        """Begin with an empty text."""
        self.length = 0  # of the text, in tokens
        self.revision = 0  # of the last change
        self.rewind_floor = 0
        self.done: deque[DoneOperation] = deque(maxlen=REMEMBERED_OPERATIONS)
        self.checkpoints: dict[str, NamedCheckpoint] = {}
        self.restored_revision = 0  # of the last restore
        self.rewind_window = rewind_window
        self._end = BEGINNING
        self._blank_offset = -1

    @classmethod
    def resumed(
        cls,
        snapshot: SessionSnapshot,
        revision: int,
        done: Iterable[DoneOperation] = (),
        checkpoints: Iterable[NamedCheckpoint] = (),
    ) -> ChangeLog:
        """Go on behind a session's change of that revision."""
        log = cls(snapshot.rewind_window)
        log.length, log.revision, log.rewind_floor = (
            snapshot.length,
            revision,
            snapshot.rewind_floor,
        )
        log._end, log._blank_offset = snapshot.text_end, snapshot.blank_offset
        log.done.extend(done)
        log.checkpoints = {checkpoint.name: checkpoint for checkpoint in checkpoints}
        return log

    def add(self, event: Event) -> Change | None:
        """Return what an event changes; None if that is nothing.

        An operation that should have changed the text, and failed to, is a change without tokens.
        """
        peak = 0  # the length that the text had before a stop string was cut off
        match event:
            case Written():
                if event.after_blank:
                    self._blank_offset = event.offset
                return self._change(self.length, event.tokens, SETTLED)
            case Appended():
                offset, tokens, end = self.length - event.replaced, event.tokens, event.text_end
            case Finished() | Rejected():
                offset, tokens = self.length - event.replaced, event.appended
                end = self._end_after(event, offset + len(tokens))
                if isinstance(event, Finished):
                    peak = self.length + len(event.stop_string or ())
            case Rewound():
                offset, tokens, end = event.offset, (), _unread_end(event.offset)
            case Checkpointed() | Discarded():
                return self._note_checkpoint(event)
            case _:
                return None
        done = done_operation(event, offset + len(tokens))
        if done is None and offset == self.length and not tokens:
            return None
        return self._change(offset, tokens, end, done, peak)

    def _note_checkpoint(self, event: Checkpointed | Discarded) -> Change:
        """Return a change without tokens, so that it has a revision."""
        if isinstance(event, Checkpointed):
            end = event.after.text_end
            self.checkpoints[event.name] = NamedCheckpoint(event.name, event.offset, end)
        else:
            self.checkpoints.pop(event.name, None)
        return self._change(self.length, (), self._end, done_operation(event, self.length))

    def restored(self, event: CheckpointRestored) -> Restoration:
        """Follow a session that is what it was at a named checkpoint."""
        snapshot = event.snapshot
        assert snapshot is not None
        self.length, self.rewind_floor = snapshot.length, snapshot.rewind_floor
        self._end, self._blank_offset = snapshot.text_end, snapshot.blank_offset
        self.revision += 1
        self.restored_revision = self.revision
        done = done_operation(event, self.length)
        if done is not None:
            self.done.append(done)
        return Restoration(self.revision, event.name, () if done is None else (done,))

    def _end_after(self, event: Finished | Rejected, length: int) -> TextEnd:
        """Return the end of a text of `length` tokens after an operation that may have changed it.

        An operation that was still waiting has not, although another one may meanwhile have changed
        the text that the engine has.
        """
        stopped = isinstance(event, Finished) and event.stop_string is not None
        return _unread_end(length) if event.replaced or event.appended or stopped else self._end

    def _change(
        self,
        offset: int,
        tokens: Sequence[int],
        end: TextEnd,
        done: DoneOperation | None = None,
        peak: int = 0,
    ) -> Change:
        if offset < self.length and offset <= self._blank_offset:
            self._blank_offset = -1
        self.revision += 1
        self.length = offset + len(tokens)
        self._end = end
        self.rewind_floor = max(self.rewind_floor, max(self.length, peak) - self.rewind_window)
        if done is not None:
            self.done.append(done)
        return Change(
            self.revision,
            offset,
            array("I", tokens),
            end,
            self.rewind_floor,
            () if done is None else (done,),
            self._blank_offset,
        )


def first_change(
    snapshot: SessionSnapshot, earlier: array[int] | None = None
) -> tuple[Change, StateRecord]:
    """Return how a session begins that a fork or an import has made: its text, and its state.

    `earlier` are the tokens before the snapshot's. Its changes go on in
    `ChangeLog.resumed(snapshot, 1)`.
    """
    tokens = (earlier or array("I")) + from_token_bytes(snapshot.token_bytes)
    change = Change(
        1,
        snapshot.length - len(tokens),
        tokens,
        snapshot.text_end,
        snapshot.rewind_floor,
        blank_offset=snapshot.blank_offset,
    )
    return change, StateRecord(snapshot.tokens_read, snapshot.state)


def _unread_end(length: int) -> TextEnd:
    """Return the end of a text of `length` tokens that is not read again."""
    return SETTLED if length else BEGINNING
