"""When a session's state is stored."""

from __future__ import annotations

from array import array

from cellwire.model_file.text_end import SETTLED
from cellwire.server.batch.sampling import Sampling
from cellwire.server.host.session_record import (
    LEAVING_INTERVAL,
    MOST_UNREAD,
    STATE_INTERVAL,
    STATE_PAUSE_S,
    SessionRecord,
)
from cellwire.server.session.events import Appended, Written
from cellwire.server.session.operations import Generate

_GENERATE = Generate(2, 9, Sampling())


class Recording:
    """A record, and how often it has asked for the state."""

    def __init__(self) -> None:
        self.now_s = 100.0
        self.asked = 0
        self.record = SessionRecord("s", 64, lambda _: None, self._ask, lambda: self.now_s)

    def _ask(self) -> None:
        self.asked += 1

    def write(self, tokens: int) -> int:
        """Add tokens; return how often it has asked since."""
        before, offset = self.asked, self.record.changes.length
        self.record.follow(Written("s", _GENERATE, offset, [5] * tokens, [-1.0] * tokens))
        return self.asked - before


def test_a_state_is_stored_after_many_tokens() -> None:
    recording = Recording()
    assert recording.write(STATE_INTERVAL - 1) == 0
    assert recording.write(1) == 1
    assert recording.write(1) == 0


def test_a_quick_model_does_not_store_little_but_states() -> None:
    recording = Recording()
    assert recording.write(STATE_INTERVAL) == 1
    assert recording.write(STATE_INTERVAL) == 0
    recording.now_s += STATE_PAUSE_S
    assert recording.write(1) == 1


def test_a_long_append_is_not_replayed_whole() -> None:
    recording = Recording()
    assert recording.write(STATE_INTERVAL) == 1
    length = STATE_INTERVAL + MOST_UNREAD
    text = array("I", [5] * MOST_UNREAD)
    recording.record.follow(Appended("s", 3, length, -1.0, text, 0, SETTLED))
    assert recording.asked == 2


def test_a_session_that_leaves_has_a_recent_state() -> None:
    recording = Recording()
    recording.write(LEAVING_INTERVAL - 1)
    recording.record.read_state_to_leave()
    assert recording.asked == 0
    recording.write(1)
    recording.record.read_state_to_leave()
    recording.record.read_state_to_leave()
    assert recording.asked == 1
