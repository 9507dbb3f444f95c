"""A session in its client's memory: its operations in order, and what is known to be safe."""

from __future__ import annotations

from collections.abc import Collection

import grpc
from tests.crash.entries import Entries
from tests.crash.entry import Answer, Entry
from tests.crash.operations import Checkpoint, Fork, Generate, Restore, Rewind, Save
from tests.crash.text import UNKNOWN, merged
from tests.crash.violation import check

from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.operations_pb2 import (
    DURABILITY_SAFE_FIRST,
    FINISH_REASON_CANCELLED,
    Appended,
    Checkpointed,
    Chunk,
    Finished,
    Forked,
    Rejected,
    Restored,
    Rewound,
    SafePoint,
)

_UNAVAILABLE = grpc.StatusCode.UNAVAILABLE.value[0]


class Ledger(Entries):
    """What a client knows of its session. Answers go through `receive`, and must be possible."""

    def add(self, entry: Entry) -> None:
        """Take a new operation."""
        self.entries.append(entry)
        self.high = max(self.high, self.lengths_to_come()[1])
        entry.high = self.high

    def drop(self, entry: Entry) -> None:
        """Forget an operation that had no effect."""
        if entry.changes_text and entry.again:
            self._forget_told_after(entry)
        self.entries.remove(entry)
        self.dropped.add(entry.id)
        if isinstance(entry.operation, Checkpoint | Restore):
            self.knows_floor = False

    def receive(self, response: StreamSessionResponse) -> None:
        """Take an answer to one of the operations."""
        entry = self.find(response.operation_id)
        assert entry is not None
        kind = response.WhichOneof("answer")
        answer = getattr(response, kind or "")
        if entry.answer is not None:
            # A save whose answer was late, and that was sent again, has two.
            again = self.catching_up or (kind == "saved" and entry.again)
            check(again, f"operation {entry.id} is answered twice: {kind}")
            check(entry.answer == answer, f"operation {entry.id} has two answers: {kind}")
            return
        check(entry.sent, f"operation {entry.id} is answered, and was lost: {kind}")
        if isinstance(answer, Finished) and self._is_idle(entry, answer):
            self.drop(entry)
            return
        if self._lacks_store(entry, response):
            self.drop(entry)
            return
        self._check_turn(entry, kind or "")
        if kind == "rejected":
            self._reject(entry, response.rejected)
        elif isinstance(answer, Chunk):
            self._extend(entry, answer, response.revision)
        else:
            self._answer(entry, answer, response.revision)

    def note_safety(self, response: StreamSessionResponse) -> None:
        """Take what an answer says of what is safe."""
        safe = response.safe
        if not response.HasField("safe"):
            return
        check(
            safe.revision >= self.safe.revision,
            f"safe revision {safe.revision} after {self.safe.revision} was said to be safe",
        )
        if safe.revision in self.lengths:
            check(
                safe.offset == self.lengths[safe.revision],
                f"safe at {safe.offset}; revision {safe.revision} ends at "
                f"{self.lengths[safe.revision]}",
            )
        self.created = True
        self.safe = SafePoint(revision=safe.revision, offset=safe.offset)
        if self.durability == DURABILITY_SAFE_FIRST:
            check(
                safe.revision >= response.revision,
                f"revision {response.revision} is told with SAFE_FIRST, and only "
                f"{safe.revision} is safe",
            )

    def note_revision(self, revision: int, *, changed: bool) -> None:
        """Take the revision of an answer that reports the text's end."""
        if self.catching_up or not revision:
            return
        least = self.revision + 1 if changed else self.revision
        check(revision >= least, f"revision {revision} is told after {self.revision}")
        self.revision = revision
        length = self.lengths.setdefault(revision, len(self.text))
        check(
            length == len(self.text),
            f"revision {revision} ends at {length}, and now at {len(self.text)}",
        )

    def _check_turn(self, entry: Entry, kind: str) -> None:
        """Check that no operation before this one waits for an answer."""
        if self.catching_up and not entry.changes_text:
            return  # the answers of queries before it may have been lost with an earlier stream
        # A save waits for the store, and what comes after it does not wait for the save.
        saves = isinstance(entry.operation, Save)
        first = next(
            e
            for e in self.open
            if (e.changes_text or not self.catching_up)
            and (saves or not isinstance(e.operation, Save))
        )
        check(entry is first, f"operation {entry.id} is answered ({kind}) before {first.id}")

    def _lacks_store(self, entry: Entry, response: StreamSessionResponse) -> bool:
        """Whether an operation that needs the store is rejected for want of it."""
        unavailable = response.rejected.status.code == grpc.StatusCode.UNAVAILABLE.value[0]
        return isinstance(entry.operation, Fork | Save) and unavailable

    def _is_idle(self, entry: Entry, finished: Finished) -> bool:
        """Whether an operation was cancelled before it had any effect."""
        if finished.reason != FINISH_REASON_CANCELLED:
            return False
        check(entry.cancelled, f"operation {entry.id} is cancelled, and nobody asked for it")
        if entry is not self.next_change:
            return True
        return not entry.piece and finished.offset == len(self.carried_text)

    def _forget_told_after(self, entry: Entry) -> None:
        """Expect other answers: an operation sent again was cancelled, and has done less."""
        self.seen.clear()
        for later in self.entries[self.entries.index(entry) + 1 :]:
            if not later.changes_text and later.answer is not None:
                self.entries.remove(later)
                self.dropped.add(later.id)
            later.forget_told()

    def lose_all(self) -> None:
        """Begin again: not even the session was kept."""
        check(not self.created, "the session is lost, and was said to be safe")
        for entry in self.entries[self.inherited :]:
            if entry.changes_text or entry.answer is None:
                entry.lose(0)
        self.carried_text, self.revision, self.lengths = "", 0, {}

    def end_catching_up(self, running: Collection[int]) -> None:
        """Let what was sent before the attach and is not known now be sent again.

        A query whose answer is lost is dropped if what comes after it was carried out: it would be
        answered for another text.
        """
        self.catching_up = False
        unsure: list[Entry] = []
        for entry in self.entries[self.inherited :]:
            begun = entry.answer is not None or entry.id in running or entry.piece
            if entry.changes_text and begun:
                for query in unsure:
                    check(not query.changes_text, f"operation {query.id} was skipped")
                    self.drop(query)
                unsure = []
            if entry.answer is None and entry.id not in running:
                unsure.append(entry)
        for entry in unsure:
            entry.again = entry.again or entry.sent
            entry.sent = entry.cancelled = False

    def _reject(self, entry: Entry, rejected: Rejected) -> None:
        message, operation = rejected.status.message, entry.operation
        exists = rejected.status.code == grpc.StatusCode.ALREADY_EXISTS.value[0]
        if isinstance(operation, Fork) and entry.again and exists:
            entry.put_answer(Forked(session_id=operation.session_id), 0)
            return
        expected = isinstance(operation, Rewind) and (
            # An append before it may have been cancelled: it goes back further than it was to.
            entry.again or operation.tokens > len(self.carried_text) or not self.knows_floor
        )
        if isinstance(operation, Restore):  # its checkpoint was cancelled; the store is full
            expected = self.kept_before(entry) is None or rejected.status.code == _UNAVAILABLE
        check(expected, f"operation {entry.id} {operation} is rejected: {message}")
        self.drop(entry)

    def _extend(self, entry: Entry, chunk: Chunk, revision: int) -> None:
        check(isinstance(entry.operation, Generate), f"operation {entry.id} tells a chunk")
        assert self.next_change is entry
        check(
            chunk.offset == len(entry.after) and chunk.end_offset == chunk.offset + len(chunk.text),
            f"a chunk {chunk.offset}-{chunk.end_offset} of {len(chunk.text)} characters comes "
            f"after {len(entry.after)}",
        )
        entry.extend(chunk.text)
        self.note_revision(revision, changed=True)

    def _answer(self, entry: Entry, answer: Answer, revision: int) -> None:
        changes = entry.changes_text
        if changes:
            assert self.next_change is entry
            before = len(entry.after)
            if isinstance(entry.operation, Generate):
                ended = getattr(answer, "offset", None)
                check(
                    ended == len(entry.after),
                    f"generate {entry.id} ends at {ended}, not at {len(entry.after)}",
                )
            self.settle(entry, answer, revision)
            self.note_revision(revision, changed=len(self.carried_text) != before)
        else:
            entry.before = self.text
            entry.put_answer(answer, revision)
            self.note_revision(revision, changed=False)

    def settle(self, entry: Entry, answer: Answer | Rejected, revision: int) -> bool:
        """Take the final answer of the next operation that changes the text.

        False if it had no effect: then it is dropped.
        """
        entry.before = self.carried_text
        if isinstance(answer, Rejected):
            self._reject(entry, answer)
            return False
        if isinstance(answer, Finished):
            if self._is_idle(entry, answer):
                self.drop(entry)
                return False
            self._finish(entry, answer)
        elif isinstance(answer, Appended):
            entry.piece = entry.addition
        elif isinstance(entry.operation, Restore):
            self._come_back(entry)
        entry.put_answer(answer, revision)
        self.carried_text = entry.after
        if isinstance(answer, Appended | Finished | Rewound | Checkpointed | Restored):
            check(
                answer.offset == len(self.carried_text),
                f"after operation {entry.id} {entry.operation} the text ends at {answer.offset}, "
                f"and must at {len(self.carried_text)}",
            )
        return True

    def _come_back(self, entry: Entry) -> None:
        kept = self.kept_before(entry)
        check(kept is not None, f"operation {entry.id} restores what was never kept")
        assert kept is not None
        entry.kept = kept.before
        if not any(each.changes_text and each is not entry for each in self.open):
            self.high = kept.high

    def _finish(self, entry: Entry, finished: Finished) -> None:
        tokens = finished.offset - len(entry.before)
        check(0 <= tokens <= entry.most, f"operation {entry.id} has added {tokens} tokens")
        if finished.reason == FINISH_REASON_CANCELLED:
            if entry.again:
                self._forget_told_after(entry)
            entry.cut_to(tokens)
        generates = isinstance(entry.operation, Generate)
        known = merged(entry.told, entry.piece) if generates else entry.addition
        check(
            len(known) <= tokens,
            f"operation {entry.id} has added {tokens} tokens, and told {len(known)}",
        )
        entry.piece = known + UNKNOWN * (tokens - len(known))
