"""What a store has kept of an engine's sessions, in the order in which it was written."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from tests.server.change_texts import ChangeTexts, KeptText

from cellwire.model_file.vocabulary import BEGINNING
from cellwire.server.session.events import (
    Checkpointed,
    Discarded,
    Event,
    Forked,
    Opened,
    StateRead,
)
from cellwire.server.state.change import (
    Change,
    DoneKind,
    DoneOperation,
    Restoration,
    StateRecord,
    remembered,
)
from cellwire.server.state.named_checkpoint import NamedCheckpoint
from cellwire.server.state.stored_session import Header, StoredHead, StoredSession

ChooseState = Callable[[list[StateRecord]], StateRecord | None]
Value = Header | Change | StateRecord | Restoration | Checkpointed | Discarded


@dataclass(frozen=True)
class Written:
    """What is committed together: a new session, a change, a state, or all of a copy."""

    session_id: str
    values: tuple[Value, ...]


@dataclass
class Folded:
    """A session as its writes leave it."""

    header: Header
    text: array[int] = field(default_factory=lambda: array("I"))
    last: Change | None = None  # whose end, floor and blank are the session's
    revision: int = 0
    states: list[StateRecord] = field(default_factory=list)
    done: tuple[DoneOperation, ...] = ()
    kept: dict[str, Folded] = field(default_factory=dict)

    def add(self, value: Value) -> None:
        match value:
            case Change():
                del self.text[value.offset :]
                self.text += value.tokens
                self.last, self.revision = value, value.revision
                self.done = remembered((*self.done, *value.done))
            case StateRecord():
                self.states.append(value)
            case Checkpointed():
                self.kept[value.name] = replace(self, text=self.text[:], states=self.states[:])
            case Discarded():
                del self.kept[value.name]
            case Restoration():
                kept = self.kept[value.name]
                self.text, self.last, self.states = kept.text[:], kept.last, kept.states[:]
                self.revision = value.revision
                self.done = remembered((*self.done, *value.done))

    def stored(self, session_id: str, choose_state: ChooseState) -> StoredSession:
        state, last = choose_state(self.states), self.last
        return StoredSession(
            StoredHead(session_id, self.header, self.revision, len(self.text)),
            text_start=0,
            tokens=self.text,
            state=state if state and state.tokens_read else None,
            end=last.end if last else BEGINNING,
            rewind_floor=last.rewind_floor if last else 0,
            blank_offset=last.blank_offset if last else -1,
            done=self.done,
            checkpoints=tuple(
                NamedCheckpoint(name, len(kept.text), kept.last.end if kept.last else BEGINNING)
                for name, kept in self.kept.items()
            ),
        )


class StoreRecord:
    """Takes an engine's events. Any number of its first writes can be what is stored."""

    def __init__(self) -> None:
        self.writes: list[Written] = []
        self.texts = ChangeTexts()

    def add(self, event: Event) -> None:
        change = self.texts.add(event)
        match event:
            case Opened():
                self._write(event.session_id, Header("", event.seed, event.rewind_window))
            case Forked():
                assert event.snapshot is not None
                snapshot, copy = event.snapshot, self.texts.sessions[event.new_session_id]
                header = Header("", event.seed, snapshot.rewind_window)
                self._write(event.new_session_id, header, copy.changes[0], copy.states[0][1])
            case StateRead():
                record = StateRecord(event.tokens_read, event.state)
                self._write(event.session_id, record)
            case Checkpointed() | Discarded():
                assert change is not None
                self._write(event.session_id, change, event)
            case _ if change is not None:
                self._write(event.session_id, change)
            case _:
                pass

    def _write(self, session_id: str, *values: Value) -> None:
        self.writes.append(Written(session_id, values))

    def together(self, count: int) -> int:
        """Return the fewest writes from `count` on that a store may have committed.

        The last tokens of a generate and its end are committed together.
        """
        before, after = self.writes[max(0, count - 1) : count], self.writes[count : count + 1]
        for first, second in zip(before, after, strict=False):
            chunk, end = first.values[0], second.values[0]
            if first.session_id == second.session_id and _is_chunk(chunk) and _is_end(end):
                return count + 1
        return count

    def sessions(self) -> list[str]:
        return [write.session_id for write in self.writes if isinstance(write.values[0], Header)]

    def load(self, session_id: str, choose_state: ChooseState) -> StoredSession:
        """Return a session, with one of its states that `choose_state` chooses."""
        return self._folded(session_id).stored(session_id, choose_state)

    def load_checkpoint(
        self, session_id: str, name: str, choose_state: ChooseState
    ) -> StoredSession:
        return self._folded(session_id).kept[name].stored(session_id, choose_state)

    def kept_texts(self, session_id: str) -> dict[str, KeptText]:
        """Return the texts of a session's named checkpoints."""
        kept = self._folded(session_id).kept
        return {name: KeptText(folded.text, []) for name, folded in kept.items()}

    def _folded(self, session_id: str) -> Folded:
        values = [
            v for write in self.writes if write.session_id == session_id for v in write.values
        ]
        header = next(value for value in values if isinstance(value, Header))
        folded = Folded(header)
        for value in values:
            folded.add(value)
        return folded


def _is_chunk(value: Value) -> bool:
    return isinstance(value, Change) and not value.done


def _is_end(value: Value) -> bool:
    return isinstance(value, Change) and any(done.kind is DoneKind.FINISHED for done in value.done)
