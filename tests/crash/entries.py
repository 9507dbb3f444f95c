"""The operations of a session in their order, and what follows from them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.crash.entry import Entry
from tests.crash.operations import Checkpoint, Generate, Restore, Rewind

from cellwire.v1.operations_pb2 import (
    Durability,
    SafePoint,
)


@dataclass(frozen=True, slots=True)
class Seen:
    """A whole text that an attach has shown, when `after` was the last operation carried out."""

    after: int  # its id; 0 if there was none
    text: str


class Entries:
    """All operations of a session, answered or not, and the text that they give."""

    def __init__(
        self,
        session_id: str,
        seed: int,
        durability: Durability.ValueType,
        inherited: Sequence[Entry] = (),
        lineage: frozenset[str] = frozenset(),
    ) -> None:
        self.session_id = session_id
        self.seed = seed  # of the session that all began with
        self.lineage = lineage | {session_id}
        self.durability = durability
        self.entries = list(inherited)
        self.inherited = len(inherited)  # entries of the session that this one was forked from
        changes = [entry for entry in inherited if entry.changes_text]
        self.carried_text = changes[-1].after if changes else ""
        self.created = False  # whether it is safe that there is such a session
        self.safe = SafePoint()
        self.revision = 0  # the last that was told by the daemon that is connected
        self.lengths: dict[int, int] = {}  # of the text, by revision
        self.high = 0  # the most tokens that the text may have had
        self.knows_floor = True  # how far it may be rewound: unless a restore has failed
        self.seen: list[Seen] = []
        self.dropped: set[int] = set()  # operations without effect, which may still be answered
        self.catching_up = False  # between an attach and all that was answered before

    @property
    def open(self) -> list[Entry]:
        """The operations without an answer, in their order."""
        return [entry for entry in self.entries[self.inherited :] if entry.answer is None]

    @property
    def next_change(self) -> Entry | None:
        """The first operation without an answer that changes the text."""
        entry = next((entry for entry in self.open if entry.changes_text), None)
        if entry is not None:
            entry.before = self.carried_text
        return entry

    @property
    def text(self) -> str:
        """The text as far as it was told."""
        entry = self.next_change
        return entry.after if entry is not None else self.carried_text

    @property
    def common_offset(self) -> int:
        """How much of `carried_text` is there whatever a crash undoes."""
        least = min(self.safe.offset, len(self.carried_text))
        shortest = self.safe.offset
        for entry in self.unsafe_changes():
            if isinstance(entry.operation, Rewind):
                shortest = max(0, shortest - entry.operation.tokens)
                least = min(least, shortest)
            elif isinstance(entry.operation, Restore):
                return 0
        return least

    @property
    def names(self) -> list[str]:
        """The names of checkpoints that were kept, and are not about to be replaced."""
        names: list[str] = []
        for entry in self.entries[self.inherited :]:
            if isinstance(entry.operation, Checkpoint):
                name = entry.operation.name
                names = [other for other in names if other != name]
                names += [name] if entry.answer is not None else []
        return names

    def unsafe_changes(self) -> Iterator[Entry]:
        """Return the operations that a crash may undo, or may not have undone."""
        for entry in self.entries[self.inherited :]:
            safe = entry.answer is not None and entry.revision <= self.safe.revision
            if entry.changes_text and not safe:
                yield entry

    def lengths_to_come(self) -> tuple[int, int]:
        """Return the least and the most tokens that the text may have meanwhile."""
        least = most = len(self.carried_text)
        for entry in self.open:
            if isinstance(entry.operation, Restore):
                kept = self.kept_before(entry)
                least = most = len(kept.before) if kept is not None else least
            elif isinstance(entry.operation, Rewind):
                least -= entry.operation.tokens
            elif entry.changes_text:
                most += entry.most
                least += 0 if isinstance(entry.operation, Generate) else entry.most
        return least, most

    def kept_before(self, restore: Entry) -> Entry | None:
        """Return the checkpoint that an operation restores; None if there is none of its name."""
        assert isinstance(restore.operation, Restore)
        before = self.entries[self.inherited : self.entries.index(restore)]
        name = restore.operation.name
        found = [entry for entry in before if entry.operation == Checkpoint(name)]
        return found[-1] if found else None

    def revision_before(self, entry: Entry) -> int:
        """Return the last revision that was told of the operations before one."""
        before = self.entries[self.inherited : self.entries.index(entry)]
        return max((each.revision for each in before if not each.from_done), default=0)

    def find(self, operation_id: int) -> Entry | None:
        own = self.entries[self.inherited :]
        return next((entry for entry in reversed(own) if entry.id == operation_id), None)
