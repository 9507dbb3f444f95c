"""Undo and redo."""

from __future__ import annotations

from collections import deque

from cellwire.client.commands.chat.buffer import Buffer, Edit

MAX_STEPS = 1_000
"""How many steps can be undone."""


class History:
    """The edits of a buffer, in steps that are undone as one."""

    def __init__(self) -> None:
        self._done: deque[Edit] = deque(maxlen=MAX_STEPS)
        self._undone: list[Edit] = []

    def add(self, edit: Edit, *, joined: bool = False) -> None:
        """Record an edit; joined makes it part of the last step if it continues it."""
        self._undone.clear()
        last = self._done[-1] if self._done else None
        if joined and last is not None and last.end == edit.start and not edit.removed:
            whole = last.inserted + edit.inserted
            self._done[-1] = Edit(last.start, last.removed, whole, last.cursor)
        else:
            self._done.append(edit)

    def undo(self, buffer: Buffer) -> bool:
        """Take the last step back; False if there is none."""
        if not self._done:
            return False
        edit = self._done.pop()
        buffer.take_back(edit)
        self._undone.append(edit)
        return True

    def redo(self, buffer: Buffer) -> bool:
        """Do the step again that was taken back last; False if there is none."""
        if not self._undone:
            return False
        edit = self._undone.pop()
        buffer.replace(edit.start, edit.start + len(edit.removed), edit.inserted)
        self._done.append(edit)
        return True
