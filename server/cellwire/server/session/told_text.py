"""A session's text as its events have told it."""

from __future__ import annotations

from typing import NamedTuple

from cellwire.server.session.task import OperationTask
from cellwire.server.state.state_history import StateHistory
from cellwire.server.state.text_history import TextHistory


class ToldText(NamedTuple):
    """A text without what no event has told yet: it is that of the last change of the text.

    Untold are the generated tokens that are held back, and all that a running append has done.
    """

    length: int
    reported: int  # its length with what the append has done
    text: TextHistory
    replaced: tuple[int, ...] = ()  # its last tokens, which the append has taken away

    def between(self, start: int, end: int) -> tuple[int, ...]:
        """Return the tokens from offset `start` up to `end`, without those forgotten."""
        kept = self.length - len(self.replaced)
        replaced = self.replaced[max(0, start - kept) : max(0, end - kept)]
        return (*self.text.between(start, min(end, kept)), *replaced)


def told_text(history: StateHistory, task: OperationTask | None) -> ToldText:
    """Return what was told of a session's text while `task` is in progress."""
    if task is None:
        return ToldText(len(history), len(history), history.text)
    replaced, reported = task.replaced_tokens, len(history) - task.unreported_tokens
    length = reported - task.appended_tokens + len(replaced)
    return ToldText(length, reported, history.text, replaced)
