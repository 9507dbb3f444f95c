"""A text to learn from: read, split into training and validation parts, cut into windows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cellwire.exporter.errors import CorpusError
from cellwire.exporter.vocabulary import Ids

_SHORTEST_PART = 2  # a character, and the one it predicts


@dataclass(frozen=True, slots=True)
class Corpus:
    """A text file as it was read: universal newlines, a byte order mark dropped."""

    name: str
    text: str
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Corpus:
        """Read a UTF-8 file; CorpusError when it is missing, empty, not UTF-8 or of one symbol."""
        try:
            raw = path.read_bytes()
        except OSError as error:
            raise CorpusError(f"{path}: {error.strerror}") from error
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise CorpusError(
                f"{path}: not UTF-8 (byte {error.start} is 0x{raw[error.start]:02x}); "
                "convert it first, for example with iconv -t UTF-8"
            ) from error
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        if not text:
            raise CorpusError(f"{path}: the file is empty")
        if text == text[0] * len(text):
            raise CorpusError(f"{path}: a model needs at least two different symbols to learn from")
        return cls(path.name, text, hashlib.sha256(raw).hexdigest())


@dataclass(frozen=True, slots=True)
class Split:
    """The first part of a corpus to train on, the last part held out."""

    train: Ids  # [n]
    validation: Ids  # [m]

    @classmethod
    def of(cls, ids: Ids, validation_share: float, last_chars: int | None = None) -> Split:
        """Hold out the last `validation_share` of the ids; CorpusError if a part is too short.

        Of what comes before it, only the `last_chars` are to be learnt from, unless that is None.
        """
        cut = len(ids) - round(len(ids) * validation_share)
        if min(cut, len(ids) - cut) < _SHORTEST_PART:
            raise CorpusError(
                f"{len(ids)} characters are too few: {cut} to learn from and {len(ids) - cut} held "
                f"out, and each part needs at least {_SHORTEST_PART}; give a longer text"
            )
        return cls(ids[max(0, cut - (last_chars or cut)) : cut], ids[cut:])


@dataclass(frozen=True, slots=True)
class Windows:
    """Consecutive windows in `lanes` parallel lanes: window k+1 of a lane goes on where k ended.

    So the recurrent state can be carried from each window to the next, as it is when serving.
    """

    lanes: int
    window: int

    @classmethod
    def fitting(cls, chars: int, lanes: int, window: int) -> Windows:
        """Return fewer lanes if the text is too short for all; CorpusError if it has no window."""
        fitting = min(lanes, (chars - 1) // window)
        if fitting < 1:
            raise CorpusError(
                f"the training part has {chars} characters, fewer than one window of {window} + 1; "
                "give a longer text or a smaller --window"
            )
        return cls(fitting, window)

    def count(self, chars: int) -> int:
        """How many windows a lane has in `chars` characters."""
        return (chars - 1) // self.lanes // self.window

    def cut(self, ids: Ids, first: int = 0) -> Iterator[tuple[Ids, Ids]]:
        """Yield inputs and targets (the inputs one character on), each int64 `[lanes, window]`.

        `first` is the window to begin with.
        """
        lane_length = (len(ids) - 1) // self.lanes
        starts = np.arange(self.lanes) * lane_length
        for k in range(first, self.count(len(ids))):
            places = (starts + k * self.window)[:, None] + np.arange(self.window)
            yield ids[places], ids[places + 1]
