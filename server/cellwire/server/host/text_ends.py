"""The end of a session's text, which is read again with what its client sends next."""

from __future__ import annotations

import weakref

from cellwire.model_file.vocabulary import BEGINNING, SETTLED, TextEnd
from cellwire.server.session.events import (
    CheckpointRestored,
    Event,
    Finished,
    FinishReason,
    Rejected,
    Rewound,
)
from cellwire.server.session.operations import TEXT_CHANGING, Append, Operation, Restore, Rewind

_TELLING = Rejected | Finished | Rewound | CheckpointRestored


class TextEnds:
    """The end of a text as it will be once all operations so far have succeeded.

    A client may send an append before the one before it is answered; it is read on the assumption
    that all goes well. When an operation fails, the session reports how its text really ends.
    Appends that were read on a wrong assumption are rejected by the session.
    """

    __slots__ = ("_last", "text_end")

    def __init__(self, text_end: TextEnd = BEGINNING) -> None:
        self.text_end = text_end
        # To change the text. An append that has ended must not stay in memory with its tokens.
        self._last: weakref.ref[Operation] | None = None

    def follow(self, operation: Operation) -> None:
        """Assume that an operation succeeds, after those before it."""
        if not isinstance(operation, TEXT_CHANGING):
            return
        self._last = weakref.ref(operation)
        match operation:
            case Append() | Restore():
                self.text_end = operation.text_end
            case Rewind(offset=0):
                self.text_end = BEGINNING
            case _:  # what the model writes is not read again
                self.text_end = SETTLED

    def correct(self, event: Event) -> None:
        """Follow an answer that says how the text ends."""
        if not isinstance(event, _TELLING) or event.after is None:
            return
        operation, text_end = event.after
        if not isinstance(operation, TEXT_CHANGING):
            return
        if self._last is not None and operation is self._last():
            self.text_end = text_end
        elif isinstance(event, Rejected) or (
            isinstance(event, Finished) and event.reason is FinishReason.CANCELLED
        ):
            # Later operations are on their way, whose text has been read on a wrong assumption.
            self.text_end = SETTLED
