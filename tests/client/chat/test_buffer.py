"""Edits, undo and redo."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cellwire.client.commands.chat.buffer import Buffer
from cellwire.client.commands.chat.history import MAX_STEPS, History


class Edits(RuleBasedStateMachine):
    """Any edits: undo and redo go through the texts that there were."""

    def __init__(self) -> None:
        super().__init__()
        self.buffer = Buffer()
        self.history = History()
        self.texts = [""]
        self.now = 0

    @rule(data=st.data(), text=st.text("ab\n", max_size=3))
    def edit(self, data: st.DataObject, text: str) -> None:
        start = data.draw(st.integers(0, len(self.buffer.text)))
        end = data.draw(st.integers(start, len(self.buffer.text)))
        self.history.add(self.buffer.replace(start, end, text))
        assert self.buffer.cursor == start + len(text)
        self.texts = [*self.texts[: self.now + 1], self.buffer.text]
        self.now += 1

    @rule()
    def undo(self) -> None:
        assert self.history.undo(self.buffer) == (self.now > 0)
        self.now = max(self.now - 1, 0)

    @precondition(lambda self: self.now < len(self.texts) - 1)
    @rule()
    def redo(self) -> None:
        assert self.history.redo(self.buffer)
        self.now += 1

    @invariant()
    def the_text_is_the_one_of_that_step(self) -> None:
        assert self.buffer.text == self.texts[self.now]
        assert self.buffer.before + self.buffer.after == self.buffer.text


TestEdits = Edits.TestCase


def test_joined_edits_are_one_step() -> None:
    buffer, history = Buffer(), History()
    for joined, letter in enumerate("abc"):
        history.add(buffer.replace(buffer.cursor, buffer.cursor, letter), joined=joined > 0)
    assert history.undo(buffer)
    assert buffer.text == ""
    assert not history.undo(buffer)
    assert history.redo(buffer)
    assert (buffer.text, buffer.cursor) == ("abc", 3)
    assert not history.redo(buffer)


def test_an_edit_elsewhere_is_a_step_by_itself() -> None:
    buffer, history = Buffer(), History()
    history.add(buffer.replace(0, 0, "ab"))
    history.add(buffer.replace(0, 0, "x"), joined=True)
    assert history.undo(buffer)
    assert (buffer.text, buffer.cursor) == ("ab", 2)


def test_the_oldest_steps_are_forgotten() -> None:
    buffer, history = Buffer(), History()
    for _ in range(MAX_STEPS + 5):
        history.add(buffer.replace(buffer.cursor, buffer.cursor, "a"))
    while history.undo(buffer):
        pass
    assert buffer.text == "aaaaa"
