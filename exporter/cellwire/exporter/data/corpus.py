"""A text file, and its split into a training and a validation part."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from cellwire.exporter.data.vocabulary import Tokens
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Data

_MIN_PART_TOKENS = 2  # one to read, and one to predict


@dataclass(frozen=True, slots=True)
class Corpus:
    """A text file, with universal newlines and without a byte order mark."""

    name: str
    text: str
    sha256: str  # of the file

    @classmethod
    def read(cls, path: Path) -> Corpus:
        """Read a UTF-8 file; CorpusError if it is missing, empty, not UTF-8 or of one symbol."""
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
            raise CorpusError(f"{path}: training needs at least two different symbols")
        return cls(path.name, text, hashlib.sha256(raw).hexdigest())

    def select(self, data: Data) -> str:
        """Return the part of the text that a recipe uses, with its kind of line ends."""
        text = self.text[: data.first_characters]
        return text.replace("\n", " ") if data.newlines == "spaces" else text


@dataclass(frozen=True, slots=True)
class Split:
    """A text whose end is held out for validation."""

    train: Tokens  # [n]
    validation: Tokens  # [m]; 0 if nothing is held out

    @classmethod
    def of(
        cls, tokens: Tokens, validation_fraction: float, last_tokens: int | None = None
    ) -> Split:
        """Split tokens `[n + m]`; CorpusError if a part is too short.

        Of the training part, only the `last_tokens` are used, unless that is None.
        """
        cut = len(tokens) - round(len(tokens) * validation_fraction)
        held_out = len(tokens) - cut
        if cut < _MIN_PART_TOKENS or (validation_fraction and held_out < _MIN_PART_TOKENS):
            raise CorpusError(
                f"{len(tokens)} symbols are too few: {cut} to train on and {held_out} held "
                f"out, and each part needs at least {_MIN_PART_TOKENS}; give a longer text"
            )
        return cls(tokens[max(0, cut - (last_tokens or cut)) : cut], tokens[cut:])
