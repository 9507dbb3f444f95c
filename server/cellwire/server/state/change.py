"""The changes of a session's text, as values: what a store keeps to restore it from.

Every operation on a text is of one kind: the text is cut to an offset, then tokens are added. The
changes of a session, applied in order to an empty text, give its text; changes that follow each
other can be joined into one.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from cellwire.model_file.text_end import TextEnd
from cellwire.server.batch.stepper import State

REMEMBERED_OPERATIONS = 64  # of a session, the last that it has carried out


class DoneKind(Enum):
    """What the last answer of an operation was."""

    APPENDED = "appended"
    FINISHED = "finished"
    REWOUND = "rewound"
    CHECKPOINTED = "checkpointed"
    RESTORED = "restored"
    DISCARDED = "discarded"
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class DoneOperation:
    """An operation that was carried out, and its answer for a client that has lost it.

    Only operations that change the text or its named checkpoints are remembered, those that failed
    to do so included.
    """

    operation_id: int
    kind: DoneKind
    offset: int  # of the end of the text after it
    log_probability: float = 0.0  # of the tokens of an append or accept
    reason: str = ""  # why it finished: a FinishReason's value
    appended_tokens: int = 0  # by an append that ended early
    generated_tokens: int = 0
    stop_string: tuple[int, ...] | None = None  # that ended it
    stop_text: str = ""  # the same, as the client has sent it
    error: str = ""  # the name of the error's class, if it was rejected
    message: str = ""  # of that error
    name: str = ""  # of the checkpoint that was kept, restored or discarded


@dataclass(frozen=True, slots=True)
class Change:
    """The text was cut to `offset`, then `tokens` were added.

    The other fields tell of the text after the change. `revision` counts a session's changes,
    from 1. A session cannot be rewound beyond `rewind_floor`, which never falls.
    """

    revision: int
    offset: int
    tokens: array[int]  # typecode "I"
    end: TextEnd  # of the text, which is read again with what follows
    rewind_floor: int
    done: tuple[DoneOperation, ...] = ()  # that it completes; none while a generate goes on
    # Where generated text begins with a blank that the client has already; -1: nowhere.
    blank_offset: int = -1

    @property
    def length(self) -> int:
        """The length of the text after the change."""
        return self.offset + len(self.tokens)


@dataclass(frozen=True, slots=True)
class Restoration:
    """A session became what it was at a named checkpoint: its text, its end, and its state.

    A change that is no `Change`: only the store knows that text. The revision and the operations
    done go on.
    """

    revision: int
    name: str  # of the checkpoint
    done: tuple[DoneOperation, ...] = ()  # that it completes


@dataclass(frozen=True, slots=True)
class StateRecord:
    """A state of the cell, and the tokens it has read. No rewind reaches these any more."""

    tokens_read: int
    state: State


def joined(earlier: Change, later: Change) -> Change:
    """Return one change that does what two that follow each other do."""
    kept = later.offset - earlier.offset
    if kept <= 0:
        offset, tokens = later.offset, later.tokens
    else:
        offset, tokens = earlier.offset, earlier.tokens[:kept] + later.tokens
    done = remembered((*earlier.done, *later.done))
    return replace(later, offset=offset, tokens=tokens, done=done)


def after_state(change: Change, tokens_read: int) -> Change:
    """Return a change without the tokens that a state has read: those are in the text before it."""
    cut = max(0, tokens_read - change.offset)
    return (
        replace(change, offset=change.offset + cut, tokens=change.tokens[cut:]) if cut else change
    )


def remembered(done: Iterable[DoneOperation]) -> tuple[DoneOperation, ...]:
    """Return the last operations of some, as many as a session remembers."""
    return tuple(done)[-REMEMBERED_OPERATIONS:]
