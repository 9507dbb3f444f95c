"""The text that is edited, and its cursor."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Edit:
    """One change of a text. Places are numbers of code points."""

    start: int
    removed: str
    inserted: str
    cursor: int
    """Where the cursor was before."""

    @property
    def end(self) -> int:
        """Where the inserted text ends."""
        return self.start + len(self.inserted)


class Buffer:
    """A text with a cursor. The model reads what is before the cursor."""

    def __init__(self) -> None:
        self.text = ""
        self.cursor = 0

    @property
    def before(self) -> str:
        """The text before the cursor."""
        return self.text[: self.cursor]

    @property
    def after(self) -> str:
        """The text after the cursor."""
        return self.text[self.cursor :]

    def replace(self, start: int, end: int, text: str) -> Edit:
        """Put a text in the place of another, and the cursor behind it."""
        edit = Edit(start, self.text[start:end], text, self.cursor)
        self.text = self.text[:start] + text + self.text[end:]
        self.cursor = edit.end
        return edit

    def take_back(self, edit: Edit) -> None:
        """Undo the last edit."""
        self.text = self.text[: edit.start] + edit.removed + self.text[edit.end :]
        self.cursor = edit.cursor
