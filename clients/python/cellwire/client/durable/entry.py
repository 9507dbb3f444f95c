"""One operation of a durable session, from its call until its effect is safe."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import Enum, auto

from cellwire.client.values import FinalAnswer, Piece
from cellwire.client.wire.requests import Operation
from cellwire.v1.operations_pb2 import (
    Accept,
    Append,
    Checkpoint,
    Close,
    Complete,
    Discard,
    Generate,
    Restore,
    Rewind,
    Save,
)


class Kind(Enum):
    """What an operation does to the session's text, and so what it waits for."""

    CHANGE = auto()
    """An append, an accept, a rewind, a restore; a checkpoint, which is kept of the text then."""
    GENERATE = auto()
    READ = auto()
    """A score, a classify, a fork: it must meet the text of its turn."""
    COMPLETE = auto()
    """A read that a change supersedes."""
    SAVE = auto()
    CLOSE = auto()


def kind_of(operation: Operation) -> Kind:
    """Return the kind of an operation."""
    match operation:
        case Append() | Accept() | Rewind() | Checkpoint() | Restore() | Discard():
            return Kind.CHANGE
        case Generate():
            return Kind.GENERATE
        case Complete():
            return Kind.COMPLETE
        case Save():
            return Kind.SAVE
        case Close():
            return Kind.CLOSE
        case _:
            return Kind.READ


class State(Enum):
    """Where an operation is."""

    WAITING = auto()
    """To be sent, or to be sent again."""
    SENT = auto()
    CATCHING_UP = auto()
    """A generate: the daemon writes the text again that the caller has, and the session has not."""
    DONE = auto()
    """The session has its effect."""


@dataclass(frozen=True, slots=True)
class Basis:
    """Where an accept takes its text from: what the complete before it has found."""

    append: Append | None
    """What adds the same text on another stream, which may reach a daemon that has not found it;
    None if the text of the first tokens is not known."""
    stream: int
    """The number of the stream on which it was found."""
    changes: int
    """How many changes of the text were before it."""


@dataclass(slots=True)
class Entry:
    """One operation.

    A generate has its text from `begin` on; its caller has been given what is before `end`.
    """

    key: int
    """Names the operation here; the operation id of its first attempt."""
    kind: Kind
    operation: Operation | None
    """None for an operation of another client, which cannot be sent again."""
    operation_id: int
    """Of the last attempt."""
    state: State = State.WAITING
    answer: FinalAnswer | None = None
    """The final answer, once its caller has it."""
    cancelled: bool = False
    """Whether its caller has asked for its end."""
    revision: int = 0
    """Of the session's text after what its caller has been told."""
    begun: bool = False
    """A generate: whether an attempt has been sent, so that `begin` is known."""
    begin: int = 0
    end: int = 0
    begin_revision: int = 0
    given: deque[tuple[int, str]] = field(default_factory=deque)
    """Text that the caller has and that is not known to be safe, with its revision."""
    again: str = ""
    """What the daemon has written of it while it was catching up."""
    basis: Basis | None = None

    @property
    def changes(self) -> bool:
        """Whether it may change the session's text."""
        return self.kind in {Kind.CHANGE, Kind.GENERATE}

    @property
    def in_flight(self) -> bool:
        """Whether an attempt is on its way."""
        return self.state not in {State.WAITING, State.DONE}

    @property
    def ends_unsent(self) -> bool:
        """Whether it was cancelled, and leaves nothing to do."""
        return self.cancelled and self.answer is None and self.end == self.begin

    def appends(self, stream: int, changes: int) -> bool:
        """Whether an accept is sent as an append: on another stream, to the same text."""
        basis = self.basis
        if basis is None or basis.stream == stream:
            return False
        return self.answer is not None or basis.changes == changes

    def give(self, piece: Piece, revision: int) -> None:
        """Note text that its caller is given."""
        self.given.append((revision, piece.text))
        self.end = piece.end_offset
        self.revision = max(self.revision, revision)

    def forget(self, safe_revision: int) -> None:
        """Drop the text that is safe."""
        while self.given and self.given[0][0] <= safe_revision:
            self.given.popleft()

    def ends_with(self, text: str) -> bool:
        """Whether a text, written again, ends as what the caller has."""
        given = "".join(text for _, text in self.given)
        return given.endswith(text) or text.endswith(given)
