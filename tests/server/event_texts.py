"""The texts of sessions, rebuilt from an engine's events alone."""

from __future__ import annotations

from collections.abc import Sequence

from cellwire.server.session.events import (
    Appended,
    CheckpointRestored,
    Event,
    Finished,
    Forked,
    Opened,
    Rejected,
    Restored,
    Rewound,
    Written,
)


class EventTexts:
    """The tokens of every session that events have carried."""

    def __init__(self) -> None:
        self.texts: dict[str, list[int]] = {}

    def add(self, event: Event) -> None:
        """Apply an event; events come in the engine's order."""
        match event:
            case Opened():
                self.texts[event.session_id] = []
            case Restored():
                start = [0] * event.snapshot.text_start  # forgotten before the snapshot
                self.texts[event.session_id] = start + event.snapshot.tokens.tolist()
            case Forked():
                self.texts[event.new_session_id] = list(self.texts[event.session_id])
                self._extend(event.new_session_id, event.appended, event.replaced)
                assert len(self.texts[event.new_session_id]) == event.offset
            case Written():
                assert event.offset == len(self.texts[event.session_id])
                self._extend(event.session_id, event.tokens)
            case Appended():
                self._extend(event.session_id, event.tokens, event.replaced)
                assert event.offset == len(self.texts[event.session_id])
            case Finished() | Rejected():
                self._extend(event.session_id, event.appended, event.replaced)
            case CheckpointRestored():
                assert event.snapshot is not None
                start = [0] * event.snapshot.text_start
                self.texts[event.session_id] = start + event.snapshot.tokens.tolist()
                assert len(self.texts[event.session_id]) == event.offset
            case Rewound():
                del self.texts[event.session_id][event.offset :]

    def _extend(self, session_id: str, tokens: Sequence[int], replaced: int = 0) -> None:
        text = self.texts.get(session_id, [])  # the session may be unknown
        del text[len(text) - replaced :]
        text.extend(tokens)
