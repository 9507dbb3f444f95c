"""Which operations of a durable session may be sent, and as what.

Operations are sent in the order of their calls. Some wait for the answers of others:

- A generate waits for the changes before it, and changes wait for the generate before them. So
  what an attach says was missed is the text of one generate. An accept of what was found on another
  stream waits, too: it is sent as an append, if there is no change between.
- A change waits for the scores, classifies and forks before it: on a changed text they could not be
  asked again. A complete is superseded instead.
- Everything waits while text is written again that the daemon has lost.
- MAX_IN_FLIGHT changes at most are under way, since the daemon remembers a number of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cellwire.client.durable.entry import Entry, Kind, State
from cellwire.client.wire.requests import Operation
from cellwire.client.wire.stream import CANCEL_ID
from cellwire.v1.operations_pb2 import Cancel, Generate

MAX_IN_FLIGHT = 32
"""How many changes may be unanswered; a session remembers its last 64."""


class Outgoing:
    """The operations on their way to the daemon. Their ids count from `first_id`."""

    def __init__(self, first_id: int) -> None:
        self.messages: list[tuple[int, Operation]] = []
        """To be sent, with their ids."""
        self.sent: dict[int, Entry] = {}
        """By the id of the attempt that is under way."""
        self.connected = False
        self.stream = 0
        """The number of the stream, from 1."""
        self.changes = 0
        """How many changes of the text were answered."""
        self._first_id = self._next_id = first_id

    def new_id(self) -> int:
        """Return an operation id that this session has not used."""
        self._next_id += 1
        return self._next_id - 1

    def is_own(self, operation_id: int) -> bool:
        """Whether the id is of an operation of this client."""
        return self._first_id <= operation_id < self._next_id

    def connect(self) -> None:
        """Begin with a new stream."""
        self.connected = True
        self.stream += 1

    def disconnect(self) -> None:
        """Forget what was to be sent, and whose answers were to come."""
        self.connected = False
        self.messages.clear()
        self.sent.clear()

    def cancel(self, entry: Entry) -> None:
        """Ask the daemon to end an operation."""
        if self.connected:
            self.messages.append((CANCEL_ID, Cancel(operation_id=entry.operation_id)))

    def plan(self, entries: Iterable[Entry], offset: int, revision: int) -> Iterator[Entry]:
        """Send what may be sent; yield what ends here: it was cancelled, or cannot be sent.

        `offset` and `revision` are those of the session's text. What is yielded has to be ended
        before the next: that counts as a change, too.
        """
        before = _Before()
        for entry in entries:
            if entry.state is State.WAITING:
                if not entry.ends_unsent:
                    if not self.connected or not before.lets(entry, self.stream):
                        break
                    self._send(entry, offset, revision)
                if entry.state is State.WAITING:
                    yield entry
                    continue
            before.add(entry)

    def _send(self, entry: Entry, offset: int, revision: int) -> None:
        """Send an operation, or what has to come before it; leave it WAITING if it ends here."""
        operation = entry.operation
        if entry.kind is Kind.GENERATE:
            operation = _attempt(entry, offset, revision)
        elif entry.basis is not None and entry.appends(self.stream, self.changes):
            operation = entry.basis.append
            entry.state = State.WAITING if operation is None else State.SENT
        else:
            entry.state = State.SENT
        if operation is None:
            return
        if entry.begun:
            entry.operation_id = self.new_id()
        entry.begun = True
        self.sent[entry.operation_id] = entry
        self.messages.append((entry.operation_id, operation))


def _attempt(entry: Entry, offset: int, revision: int) -> Generate | None:
    """Return what to send of a generate, if it is anything, and set its state."""
    attempt = Generate()
    if isinstance(entry.operation, Generate):
        attempt.CopyFrom(entry.operation)
    entry.begin_revision = revision
    if not entry.begun:
        entry.begin = entry.end = offset
        entry.state = State.SENT
        return attempt
    attempt.start_offset = entry.begin
    if offset < entry.end:
        entry.state, entry.again = State.CATCHING_UP, ""
        attempt.max_tokens = entry.end - entry.begin
        attempt.log_probabilities, attempt.top_alternatives = False, 0
        return attempt
    if entry.answer is not None:
        entry.state, entry.revision = State.DONE, revision
        return None
    if entry.cancelled:
        return None
    entry.state = State.SENT
    return attempt


class _Before:
    """What is under way before an operation."""

    def __init__(self) -> None:
        self._changes = 0
        self._generating = self._reading = self._restoring = False

    def lets(self, entry: Entry, stream: int) -> bool:
        """Whether an operation may be sent behind it."""
        if self._restoring:
            return False
        alone = not self._generating and not self._reading
        match entry.kind:
            case Kind.CHANGE if entry.basis is None or entry.basis.stream == stream:
                return alone and self._changes < MAX_IN_FLIGHT
            case Kind.CHANGE | Kind.GENERATE:
                return alone and not self._changes
            case _:
                return True

    def add(self, entry: Entry) -> None:
        """Take an operation as one that is before the next."""
        if not entry.in_flight:
            return
        self._restoring |= entry.state is State.CATCHING_UP
        self._generating |= entry.kind is Kind.GENERATE
        self._reading |= entry.kind is Kind.READ
        self._changes += entry.kind is Kind.CHANGE
