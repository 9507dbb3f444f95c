"""The end of a text that has been read: what follows it may change how it is read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Tokens = npt.NDArray[np.uint32]  # half of int64: long appends wait in memory

MAX_REREAD_CHARS = 1_024
MAX_REREAD_TOKENS = 64


@dataclass(frozen=True, slots=True)
class TextEnd:
    """The last characters of a text, which are read again together with what follows them.

    At most MAX_REREAD_CHARS characters and MAX_REREAD_TOKENS tokens are ever read again: a longer
    end is settled as it was read.
    """

    text: str = ""  # as it was sent
    tokens: tuple[int, ...] = ()  # what it was read as; the last tokens of the text
    beginning: bool = False  # whether `text` begins the whole text


BEGINNING = TextEnd(beginning=True)
"""The end of a text that has no characters yet."""

SETTLED = TextEnd()
"""The end of a text that nothing can change any more."""


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """What a text was read as."""

    tokens: Tokens  # [n]: of the end before it and the text; they replace that end's tokens
    end: TextEnd  # the new end
