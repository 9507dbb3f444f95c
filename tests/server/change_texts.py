"""The texts of sessions, rebuilt from their changes: one by one, and joined."""

from __future__ import annotations

from array import array
from typing import NamedTuple

from cellwire.model_file.text_end import TextEnd
from cellwire.server.session.change_log import ChangeLog, first_change
from cellwire.server.session.events import (
    Checkpointed,
    CheckpointRestored,
    Discarded,
    Event,
    Forked,
    Opened,
    Restored,
    StateRead,
)
from cellwire.server.state.change import Change, Restoration, StateRecord, joined
from cellwire.server.state.snapshot import SessionSnapshot
from cellwire.server.state.stored_session import StoredSession


class KeptText(NamedTuple):
    """A text at a named checkpoint."""

    text: array[int]
    states: list[tuple[int, StateRecord]]


class ChangedText:
    """One session: its log, and what its changes say, each followed at once, and all joined."""

    def __init__(self, window: int) -> None:
        self.log = ChangeLog(window)
        self.revision = 0
        self.text = array("I")
        self.changes: list[Change] = []
        self.joined: Change | None = None
        self.states: list[tuple[int, StateRecord]] = []  # after how many changes each was read
        self.kept: dict[str, KeptText] = {}  # at named checkpoints
        self.end: TextEnd | None = None

    def begin(self, snapshot: SessionSnapshot) -> None:
        self.log = ChangeLog.resumed(snapshot, 1)
        change, state = first_change(snapshot)
        self.text = array("I", [0] * snapshot.text_start)  # forgotten before the snapshot
        self.apply(change)
        self.states.append((1, state))

    def resume(
        self, snapshot: SessionSnapshot, stored: StoredSession, kept: dict[str, KeptText]
    ) -> None:
        """Go on with a text that was stored."""
        self.log = ChangeLog.resumed(
            snapshot, stored.head.revision, stored.done, stored.checkpoints
        )
        self.revision = stored.head.revision
        self.text = stored.tokens[:]
        self.kept = kept

    def note(self, event: Event) -> None:
        """Keep the text that is to have a name, or forget one."""
        if isinstance(event, Checkpointed):
            self.kept[event.name] = KeptText(self.text[:], self.states[:])
        elif isinstance(event, Discarded):
            self.kept.pop(event.name, None)
        assert self.kept.keys() == self.log.checkpoints.keys()

    def restore(self, event: CheckpointRestored) -> Restoration:
        """Go on with the text of a named checkpoint."""
        restoration = self.log.restored(event)
        kept = self.kept[event.name]
        self.revision += 1
        assert restoration.revision == self.revision
        self.text, self.states, self.joined = kept.text[:], kept.states[:], None
        self.end = event.after.text_end
        assert len(self.text) == event.offset == self.log.length
        return restoration

    def apply(self, change: Change) -> None:
        assert change.revision == self.revision + 1
        self.revision += 1
        assert change.offset <= len(self.text)
        del self.text[change.offset :]
        self.text += change.tokens
        assert change.length == self.log.length == len(self.text)
        if self.states:
            assert self.states[-1][1].tokens_read <= change.offset, "a change of what a state read"
        before = self.joined
        self.joined = change if before is None else joined(before, change)
        assert self.joined.length == change.length
        assert self.text[self.joined.offset :] == self.joined.tokens
        self.changes.append(change)
        self.end = change.end

    def read_state(self, event: StateRead) -> None:
        assert event.tokens_read <= max(0, self.log.rewind_floor - 1)
        self.states.append((len(self.changes), StateRecord(event.tokens_read, event.state)))


class ChangeTexts:
    """Follows an engine's events, as the host does with durable sessions."""

    def __init__(self) -> None:
        self.sessions: dict[str, ChangedText] = {}

    def add(self, event: Event) -> Change | Restoration | None:
        """Apply an event; return the change that it is."""
        match event:
            case Opened():
                self.sessions[event.session_id] = ChangedText(event.rewind_window)
            case Restored() if event.session_id not in self.sessions:
                self._begin(event.session_id, event.snapshot)
            case Forked() if event.snapshot is not None:
                self._begin(event.new_session_id, event.snapshot)
            case StateRead():
                self.sessions[event.session_id].read_state(event)
            case CheckpointRestored():
                return self.sessions[event.session_id].restore(event)
            case _ if event.session_id in self.sessions:
                session = self.sessions[event.session_id]
                change = session.log.add(event)
                if change is not None:
                    session.apply(change)
                session.note(event)
                return change
            case _:
                pass
        return None

    def resume(
        self,
        session_id: str,
        snapshot: SessionSnapshot,
        stored: StoredSession,
        kept: dict[str, KeptText],
    ) -> None:
        """Go on with a session that was stored."""
        self.sessions[session_id] = ChangedText(snapshot.rewind_window)
        self.sessions[session_id].resume(snapshot, stored, kept)

    def _begin(self, session_id: str, snapshot: SessionSnapshot) -> None:
        self.sessions[session_id] = ChangedText(snapshot.rewind_window)
        self.sessions[session_id].begin(snapshot)
