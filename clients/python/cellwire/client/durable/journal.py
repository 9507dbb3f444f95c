"""The journal of a durable session: its operations until they are answered and safe.

A state machine without clock, task or connection: calls of the caller and answers of the daemon
come in, operations to send and answers to give come out. After a loss, `Attached` says which
operations are done and which run, and its revision says which of those that were answered are lost.
What is not there is sent again, in its order. A generate goes on where its text ends; text that its
caller has and the session has not is written again first, and compared.
"""

from __future__ import annotations

from dataclasses import replace

from cellwire.client.durable.entry import Basis, Entry, Kind, State, kind_of
from cellwire.client.durable.outgoing import Outgoing
from cellwire.client.errors import Aborted, AlreadyExists, CellwireError
from cellwire.client.values import (
    Appended,
    Checkpointed,
    Closed,
    Completed,
    Completing,
    Discarded,
    Done,
    FinalAnswer,
    Finished,
    FinishReason,
    Forked,
    PartialAnswer,
    Piece,
    Restored,
    Rewound,
    SafePoint,
    Usage,
)
from cellwire.client.wire.requests import Operation
from cellwire.v1.operations_pb2 import Accept, Append, Close, Complete, Fork

Answer = PartialAnswer | FinalAnswer | CellwireError


class Journal:
    """The operations of one session.

    `outgoing.messages` are to be sent, with their ids, and `gives` to be given to the callers of
    the operations, by key; their reader takes them out after each call. `failure` is set if the
    session cannot go on.
    """

    def __init__(self, first_id: int) -> None:
        self.entries: dict[int, Entry] = {}
        """By key, in the order of their calls."""
        self.outgoing = Outgoing(first_id)
        self.gives: list[tuple[int, Answer]] = []
        self.failure: CellwireError | None = None
        self.safe: SafePoint | None = None
        """None until the session itself is safe."""
        self.offset = 0
        """The length of the session's text in the daemon, after all that was received."""
        self.revision = 0
        """The revision of that text."""
        self.found_at = 0
        """The revision at which the session was attached to; 0 if this client has opened it."""
        self.foreign_ids: set[int] = set()
        """The operations of other clients that were under way then, or remembered."""
        self._found: tuple[Completed, int, int] | None = None

    def submit(self, operation: Operation) -> int:
        """Add an operation behind the others, and return its key."""
        key = self.outgoing.new_id()
        entry = Entry(key, kind_of(operation), operation, key)
        if isinstance(operation, Accept):
            entry.basis = self._basis(operation)
        self.entries[key] = entry
        self.send()
        return key

    def cancel(self, key: int) -> None:
        """End an operation early; its answers until then still come."""
        entry = self.entries.get(key)
        if entry is None or entry.answer is not None or entry.cancelled:
            return
        entry.cancelled = True
        if entry.state is State.SENT:
            self.outgoing.cancel(entry)
        self.send()

    def lost(self) -> None:
        """Send nothing until `recover` has taken the answer to an attach."""
        self.outgoing.disconnect()

    def receive(
        self, operation_id: int, answer: Answer | None, revision: int, safe: SafePoint | None
    ) -> None:
        """Take an answer of the daemon, with what the message around it says."""
        self.revision = max(self.revision, revision)
        entry = self.outgoing.sent.get(operation_id)
        if entry is not None and answer is not None:
            if isinstance(answer, Piece):
                self.offset = answer.end_offset
                self._take_piece(entry, answer, revision)
            elif isinstance(answer, Completing):
                if entry.state is State.SENT:
                    self.gives.append((entry.key, answer))
            else:
                del self.outgoing.sent[operation_id]
                self._take_final(entry, answer)
        self.note_safe(safe)
        if not isinstance(answer, Piece | Completing):  # these let nothing else go
            self.send()

    def note_safe(self, safe: SafePoint | None) -> None:
        """Forget what is safe."""
        if safe is not None and safe != self.safe:
            self.safe = safe
            self._forget()

    def send(self) -> None:
        """Send what may be sent now."""
        if self.failure is not None:
            return
        entries = list(self.entries.values())
        for entry in self.outgoing.plan(entries, self.offset, self.revision):
            self._end_here(entry)
        self._forget()

    def take_done(self, entry: Entry, done: Done) -> None:
        """Take the final answer of an operation that was carried out, and whose answer was lost."""
        entry.state = State.WAITING
        if entry.answer is None:
            self.answer(entry, done.answer)
        else:
            self._done_again(entry, done.answer)

    def answer(self, entry: Entry, answer: FinalAnswer | CellwireError) -> None:
        """Give the final answer of an operation whose effect the session has."""
        answer = _of_all_attempts(entry, answer)
        self.gives.append((entry.key, answer))
        if isinstance(entry.operation, Complete) and isinstance(answer, Completed):
            self._found = (answer, self.outgoing.stream, self.outgoing.changes)
        entry.state = State.DONE
        if not entry.changes or isinstance(answer, CellwireError):
            del self.entries[entry.key]
            return
        early = isinstance(answer, Finished) and answer.reason is FinishReason.CANCELLED
        nothing = _changed_nothing(entry, answer)
        self.outgoing.changes += not (early and nothing)
        if nothing:
            del self.entries[entry.key]
            return
        entry.answer = answer
        entry.revision = self.revision

    def changed_after(self, entry: Entry) -> bool:
        """Whether there is a change behind an operation."""
        keys = list(self.entries)
        later = keys[keys.index(entry.key) + 1 :]
        return any(self.entries[key].changes for key in later)

    def gone(self) -> None:
        """Take it that there is no session: one that was to be closed is."""
        for entry in list(self.entries.values()):
            close = entry.operation
            if isinstance(close, Close) and entry.begun and not close.keep:
                self.answer(entry, Closed())

    def fail(self, failure: CellwireError) -> None:
        """End the session: nothing can be sent any more."""
        self.failure = self.failure or failure

    def _forget(self) -> None:
        if self.safe is None:
            return
        for entry in list(self.entries.values()):
            entry.forget(self.safe.revision)
            if entry.state is State.DONE and entry.answer and entry.revision <= self.safe.revision:
                del self.entries[entry.key]

    def _take_piece(self, entry: Entry, piece: Piece, revision: int) -> None:
        if entry.state is State.CATCHING_UP:
            entry.again += piece.text
            return
        entry.give(piece, revision)
        self.gives.append((entry.key, piece))

    def _take_final(self, entry: Entry, answer: FinalAnswer | CellwireError) -> None:
        state, entry.state = entry.state, State.WAITING
        if isinstance(answer, Appended | Finished | Rewound | Restored):
            self.offset = answer.offset
        if state is State.CATCHING_UP:
            self._caught_up(entry, answer)
        elif entry.answer is not None:
            self._done_again(entry, answer)
        else:
            self.answer(entry, _meant(entry, answer, self.offset))

    def _caught_up(self, entry: Entry, answer: FinalAnswer | CellwireError) -> None:
        """Compare what was written again with what the caller has."""
        if not isinstance(answer, Finished):
            self.fail(_not_restored(entry, answer))
        elif answer.offset != entry.end or not entry.ends_with(entry.again):
            self.fail(
                Aborted(
                    "the daemon has lost text that was not safe, and its model has written another "
                    f"text in its place, up to offset {answer.offset}; to rule that out, use "
                    'durability="safe_first"'
                )
            )

    def _done_again(self, entry: Entry, answer: FinalAnswer | CellwireError) -> None:
        """Take the answer to a change that was answered before, and lost by the daemon."""
        if entry.answer is not None and _is_same(entry.answer, answer):
            entry.state, entry.revision = State.DONE, self.revision
        else:
            self.fail(_not_restored(entry, answer))

    def _end_here(self, entry: Entry) -> None:
        """Answer an operation that was cancelled before it was sent, or that cannot be sent."""
        if not entry.cancelled:
            failure = Aborted(
                "the connection was lost between a complete and an accept of a part of it, and the "
                "part's text is not known here; complete again"
            )
            if entry.answer is None:
                self.answer(entry, failure)
            else:
                self.fail(failure)
            return
        usage = Usage(appended_tokens=0, generated_tokens=entry.end - entry.begin)
        offset = entry.end if entry.begun and entry.kind is Kind.GENERATE else self.offset
        self.answer(entry, Finished(FinishReason.CANCELLED, offset, usage))

    def _basis(self, accept: Accept) -> Basis | None:
        if self._found is None:
            return None
        completed, stream, changes = self._found
        if accept.index >= len(completed.completions):
            return None
        return Basis(append_of(completed, accept), stream, changes)


def append_of(completed: Completed, accept: Accept) -> Append | None:
    """Return the append that does what an accept does; None if its text is not known."""
    found = completed.completions[accept.index]
    tokens = accept.tokens or found.token_count
    if tokens == found.token_count:
        return Append(text=found.text)
    if found.token_count == len(found.text):  # a token is a character
        return Append(text=found.text[:tokens])
    return None


def _is_same(before: FinalAnswer, again: FinalAnswer | CellwireError) -> bool:
    """Whether a change has come out as it did before."""
    match again:
        case Appended() | Rewound():
            return isinstance(before, Appended | Rewound) and before.offset == again.offset
        case Checkpointed() | Restored() | Discarded():
            return before == again
        case _:
            return False


def _changed_nothing(entry: Entry, answer: FinalAnswer) -> bool:
    """Whether an operation was ended before it changed the text."""
    return (
        isinstance(answer, Finished)
        and not answer.usage.appended_tokens
        and (entry.kind is Kind.CHANGE or not answer.usage.generated_tokens)
    )


def _meant(
    entry: Entry, answer: FinalAnswer | CellwireError, offset: int
) -> FinalAnswer | CellwireError:
    """Return the answer of a fork that an earlier attempt has carried out, or else the answer."""
    fork = entry.operation
    again = entry.operation_id != entry.key
    if again and isinstance(fork, Fork) and isinstance(answer, AlreadyExists):
        return Forked(fork.session_id, fork.seed, offset)
    return answer


def _of_all_attempts(
    entry: Entry, answer: FinalAnswer | CellwireError
) -> FinalAnswer | CellwireError:
    """Return the end of a generate with the tokens of its earlier attempts, too.

    One that is cancelled before its last attempt begins counts none.
    """
    again = entry.operation_id != entry.key
    if entry.kind is Kind.GENERATE and again and isinstance(answer, Finished):
        usage = Usage(answer.usage.appended_tokens, answer.offset - entry.begin)
        return replace(answer, usage=usage)
    return answer


def _not_restored(entry: Entry, answer: FinalAnswer | CellwireError) -> Aborted:
    kind = type(entry.operation).__name__.lower()
    return Aborted(
        f"the daemon has lost the effect of a {kind} that was not safe, and it could not be done "
        f"again: {answer}"
    )
