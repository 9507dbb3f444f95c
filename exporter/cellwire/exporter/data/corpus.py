"""A text to learn from: read, prepared, split into training and validation parts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cellwire.exporter.data.vocabulary import Ids
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Data

_SHORTEST_PART = 2  # a symbol, and the one it predicts


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

    def prepared(self, data: Data) -> str:
        """Return the part of the text that a recipe asks for, its line ends as it asks."""
        text = self.text[: data.first_chars]
        return text.replace("\n", " ") if data.newlines == "spaces" else text


@dataclass(frozen=True, slots=True)
class Split:
    """The first part of a text to train on, the last part held out."""

    train: Ids  # [n]
    validation: Ids  # [m], 0 if nothing is held out

    @classmethod
    def of(cls, ids: Ids, validation_share: float, last_chars: int | None = None) -> Split:
        """Hold out the last `validation_share` of the ids; CorpusError if a part is too short.

        Of what comes before it, only the `last_chars` are to be learnt from, unless that is None.
        """
        cut = len(ids) - round(len(ids) * validation_share)
        held_out = len(ids) - cut
        if cut < _SHORTEST_PART or (validation_share and held_out < _SHORTEST_PART):
            raise CorpusError(
                f"{len(ids)} symbols are too few: {cut} to learn from and {held_out} held "
                f"out, and each part needs at least {_SHORTEST_PART}; give a longer text"
            )
        return cls(ids[max(0, cut - (last_chars or cut)) : cut], ids[cut:])
