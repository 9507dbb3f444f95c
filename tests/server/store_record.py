"""What a store has kept of an engine's sessions, in the order in which it was written."""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass

from tests.server.change_texts import ChangeTexts

from cellwire.model_file.vocabulary import BEGINNING
from cellwire.server.session.events import Event, Forked, Opened, StateRead
from cellwire.server.state.change import Change, DoneKind, StateRecord, remembered
from cellwire.server.state.stored_session import Header, StoredHead, StoredSession


@dataclass(frozen=True)
class Written:
    """What is committed together: a new session, a change, a state, or all of a copy."""

    session_id: str
    values: tuple[Header | Change | StateRecord, ...]


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
            case _ if change is not None:
                self._write(event.session_id, change)
            case _:
                pass

    def _write(self, session_id: str, *values: Header | Change | StateRecord) -> None:
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

    def load(
        self, session_id: str, choose_state: Callable[[list[StateRecord]], StateRecord | None]
    ) -> StoredSession:
        """Return a session, with one of its states that `choose_state` chooses."""
        values = [
            v for write in self.writes if write.session_id == session_id for v in write.values
        ]
        changes = [value for value in values if isinstance(value, Change)]
        states = [value for value in values if isinstance(value, StateRecord)]
        header = next(value for value in values if isinstance(value, Header))
        text, last = array("I"), changes[-1] if changes else None
        for change in changes:
            del text[change.offset :]
            text += change.tokens
        state = choose_state(states)
        head = StoredHead(session_id, header, last.revision if last else 0, len(text))
        return StoredSession(
            head,
            text_start=0,
            tokens=text,
            state=state if state and state.tokens_read else None,
            end=last.end if last else BEGINNING,
            rewind_floor=last.rewind_floor if last else 0,
            blank_offset=last.blank_offset if last else -1,
            done=remembered(done for change in changes for done in change.done),
        )


def _is_chunk(value: Header | Change | StateRecord) -> bool:
    return isinstance(value, Change) and not value.done


def _is_end(value: Header | Change | StateRecord) -> bool:
    return isinstance(value, Change) and any(done.kind is DoneKind.FINISHED for done in value.done)
