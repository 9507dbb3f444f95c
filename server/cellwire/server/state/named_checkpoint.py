"""A named checkpoint: a place of a session's text that can be returned to at any time.

Unlike the checkpoints of a state history, it is kept in a store, however far the session goes on.
"""

from __future__ import annotations

from typing import NamedTuple

from cellwire.model_file.text_end import TextEnd


class NamedCheckpoint(NamedTuple):
    """What is known of a named checkpoint without reading it."""

    name: str
    offset: int  # the length of its text, in tokens
    end: TextEnd  # of its text, which is read again with what follows
