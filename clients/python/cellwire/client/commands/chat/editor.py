"""What keys do to a text that a person and a model write in turns.

It is independent of the terminal. Each key changes the text at once; the worker then brings the
session to the text before the cursor, and what the model writes comes in at the cursor.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from cellwire.client.commands.chat.buffer import Buffer, Edit
from cellwire.client.commands.chat.graphemes import (
    grapheme_end,
    grapheme_start,
    word_end,
    word_start,
)
from cellwire.client.commands.chat.history import History
from cellwire.client.commands.chat.surprise import Surprise
from cellwire.client.generation import Generation
from cellwire.client.values import Completion, LabelScore

MAX_TEMPERATURE = 100.0
_TEMPERATURE_STEP = 0.1


@dataclass(frozen=True, slots=True)
class Request:
    """The model is to continue the text before the cursor."""

    again: int = 0
    """0 for the session's own seed, or which of the other seeds to use."""


class Editor:
    """A text, and what is known about it. `changed` is called when there is more to show."""

    def __init__(self, temperature: float = 0.8) -> None:
        self.buffer = Buffer()
        self.notice = ""
        """What there is to say: an error, or what a key did."""
        self.temperature = temperature
        self.listing = False
        """Whether all completions are shown, to choose from."""
        self.colours = False
        """Whether surprise is shown."""
        self.surprise = Surprise()
        self.request: Request | None = None
        self.generation: Generation | None = None
        self.leaving = False
        self.news = asyncio.Event()
        """Set whenever the worker may have something to do."""
        self.changed: Callable[[], None] = lambda: None
        self.chosen = 0
        """The index of the completion that is suggested."""
        self._completions: tuple[str, tuple[Completion, ...]] = ("", ())
        self._labels: tuple[str, tuple[LabelScore, ...]] = ("", ())
        self._history = History()
        self._joins = ""  # which kind of edit the next one continues
        self._written: Edit | None = None
        self._seeds_used = 0

    @property
    def generating(self) -> bool:
        """Whether the model writes, or is about to."""
        return self.generation is not None or self.request is not None

    @property
    def completions(self) -> tuple[Completion, ...]:
        """The completions of the text before the cursor, the best first; empty if not known."""
        text, found = self._completions
        return found if text == self.buffer.before and not self.generating else ()

    @property
    def suggestion(self) -> str:
        """The completion that Tab accepts."""
        completions = self.completions
        return completions[min(self.chosen, len(completions) - 1)].text if completions else ""

    @property
    def labels(self) -> tuple[LabelScore, ...]:
        """The newest scores of the labels; of the text before the last keys while one types."""
        return self._labels[1]

    @property
    def labels_are_current(self) -> bool:
        """Whether the labels' scores are those of the text before the cursor."""
        return self._labels[0] == self.buffer.before

    def type(self, text: str) -> None:
        """Add text at the cursor."""
        if text:
            self.stop()
            begins_word = not text.isspace() and self.buffer.before[-1:].isspace()
            joined = self._joins == "typing" and len(text) == 1 and not begins_word
            self._edit(self.buffer.cursor, self.buffer.cursor, text, joined=joined)
            self._joins = "typing" if len(text) == 1 else ""

    def accept(self) -> None:
        """Add the suggestion, if there is one."""
        if suggestion := self.suggestion:
            self._edit(self.buffer.cursor, self.buffer.cursor, suggestion)
            self.listing = False

    def erase_character(self) -> None:
        """Remove the user-perceived character before the cursor."""
        self._erase_to(grapheme_start(self.buffer.text, self.buffer.cursor))

    def erase_next_character(self) -> None:
        """Remove the user-perceived character after the cursor."""
        cursor = self.buffer.cursor
        end = grapheme_end(self.buffer.text, cursor)
        if end > cursor:
            self.stop()
            self._edit(cursor, end, "")

    def erase_word(self) -> None:
        """Remove the word before the cursor."""
        self._erase_to(word_start(self.buffer.text, self.buffer.cursor))

    def erase_to_line_start(self) -> None:
        """Remove what is before the cursor in its line; at its start, the line feed."""
        start = self.buffer.text.rfind("\n", 0, self.buffer.cursor) + 1
        self._erase_to(start if start < self.buffer.cursor else start - 1)

    def erase_to_line_end(self) -> None:
        """Remove what is after the cursor in its line; at its end, the line feed."""
        cursor, text = self.buffer.cursor, self.buffer.text
        end = text.find("\n", cursor)
        end = len(text) if end < 0 else max(end, min(cursor + 1, len(text)) if end == cursor else 0)
        if end > cursor:
            self.stop()
            self._edit(cursor, end, "")

    def move_left(self) -> None:
        """Move the cursor back by a user-perceived character."""
        self.move_to(grapheme_start(self.buffer.text, self.buffer.cursor))

    def move_right(self) -> None:
        """Move the cursor on by a user-perceived character."""
        self.move_to(grapheme_end(self.buffer.text, self.buffer.cursor))

    def move_word_left(self) -> None:
        """Move the cursor back by a word."""
        self.move_to(word_start(self.buffer.text, self.buffer.cursor))

    def move_word_right(self) -> None:
        """Move the cursor on by a word."""
        self.move_to(word_end(self.buffer.text, self.buffer.cursor))

    def move_to(self, place: int) -> None:
        """Move the cursor to a place of the text."""
        place = max(0, min(place, len(self.buffer.text)))
        if place != self.buffer.cursor:
            self.stop()
            self.buffer.cursor = place
            self._joins = ""
            self._tell()

    def undo(self) -> None:
        """Take the last step back, typed or generated."""
        self._go_through(self._history.undo, "there is nothing to undo")

    def redo(self) -> None:
        """Do the step again that was taken back last."""
        self._go_through(self._history.redo, "there is nothing to do again")

    def go_on(self) -> None:
        """Let the model continue the text before the cursor."""
        if not self.generating:
            self._begin(Request())

    def again(self) -> None:
        """Replace what the model has written last by something else."""
        self.stop()
        last = self._written
        if last is None or not self._stands(last):
            self.say("the model has not written the text before the cursor; Enter lets it write")
            return
        self._seeds_used += 1
        self._edit(last.start, last.end, "")
        self._begin(Request(self._seeds_used))

    def stop(self) -> None:
        """Stop the model, with the text as it is shown."""
        if self.generation is not None:
            self.generation.cancel()
        self.generation = self.request = None
        self._tell()

    def finish(self, generation: Generation) -> None:
        """Note that a generation has ended."""
        if self.generation is generation:
            self.generation = None
            self._tell()

    def leave(self) -> None:
        """End."""
        self.stop()
        self.leaving = True
        self._tell()

    def warmer(self, steps: int) -> None:
        """Raise the temperature by steps of a tenth, or lower it."""
        changed = round(self.temperature + steps * _TEMPERATURE_STEP, 1)
        self.temperature = max(0.0, min(changed, MAX_TEMPERATURE))
        self.say(f"temperature {self.temperature:g}, from the next text on")

    def toggle_colours(self) -> None:
        """Show surprise, or do not."""
        self.colours = not self.colours
        self.say("")

    def toggle_list(self) -> None:
        """Show all completions, or only the one that is suggested."""
        self.listing = not self.listing
        self.chosen = 0
        self.say("")

    def choose(self, steps: int) -> None:
        """Suggest a completion further down, or up, in the list."""
        if self.completions:
            self.chosen = (self.chosen + steps) % len(self.completions)
            self.changed()

    def load(self, text: str) -> None:
        """Put a text in the place of the text."""
        self.stop()
        self._edit(0, len(self.buffer.text), text)

    def say(self, notice: str) -> None:
        """Show a notice, in the place of the one before."""
        self.notice = notice
        self._tell()

    def write(self, text: str) -> None:
        """Add what the model writes."""
        edit = self.buffer.replace(self.buffer.cursor, self.buffer.cursor, text)
        self._history.add(edit, joined=self._joins == "writing")
        self._joins = "writing"
        last = self._written
        if last is not None and last.end == edit.start:
            edit = Edit(last.start, "", last.inserted + text, last.cursor)
        self._written = edit
        self.changed()

    def show_completions(self, text: str, completions: tuple[Completion, ...]) -> None:
        """Note the completions of a text."""
        self._completions, self.chosen = (text, completions), 0
        self.changed()

    def show_labels(self, text: str, labels: tuple[LabelScore, ...]) -> None:
        """Note the labels' scores for a text."""
        self._labels = (text, labels)
        self.changed()

    def _begin(self, request: Request) -> None:
        start = self.buffer.cursor
        self.request, self._written = request, Edit(start, "", "", start)
        self.listing = False
        self._joins = "writing" if request.again else ""
        self.say("")

    def _stands(self, written: Edit) -> bool:
        """Whether the cursor is where a text ends that the model has written."""
        end = self.buffer.cursor == written.end
        return end and self.buffer.text[written.start : written.end] == written.inserted

    def _erase_to(self, start: int) -> None:
        if 0 <= start < self.buffer.cursor:
            self.stop()
            self._edit(start, self.buffer.cursor, "")

    def _edit(self, start: int, end: int, text: str, *, joined: bool = False) -> None:
        self._history.add(self.buffer.replace(start, end, text), joined=joined)
        self._joins = ""
        self.say("")

    def _go_through(self, step: Callable[[Buffer], bool], otherwise: str) -> None:
        self.stop()
        self._joins = ""
        self.say("" if step(self.buffer) else otherwise)

    def _tell(self) -> None:
        self.news.set()
        self.changed()
