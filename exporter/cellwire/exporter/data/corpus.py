"""A file of text, and the split of its tokens into a training and a validation part."""

from __future__ import annotations

import hashlib
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cellwire.exporter.data.encoding import UTF_8, decode, encoding_of
from cellwire.exporter.data.vocabulary import Tokens
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.data import Data

_MIN_PART_TOKENS = 2  # one to read, and one to predict
_KINDS = (
    (stat.S_ISDIR, "a directory"),
    (stat.S_ISFIFO, "a pipe"),
    (stat.S_ISSOCK, "a socket"),
    (stat.S_ISCHR, "a device"),
    (stat.S_ISBLK, "a device"),
)


@dataclass(frozen=True, slots=True)
class Corpus:
    """A file as it is on disk: it is decoded in blocks, and cleaned by the vocabulary only."""

    path: Path
    raw: bytes
    sha256: str

    @classmethod
    def read(cls, path: Path) -> Corpus:
        """Read a file; CorpusError if it is missing, unreadable, empty or no regular file."""
        try:
            _check_regular(path)
            raw = path.read_bytes()
        except OSError as error:
            raise CorpusError(f"{path}: {error.strerror}") from error
        if not raw:
            raise CorpusError(f"{path}: the file is empty; give a text to train on")
        return cls(path, raw, hashlib.sha256(raw).hexdigest())

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name

    def blocks(self, data: Data) -> Iterator[str]:
        """Yield the part of the text that a recipe uses, in blocks; none is empty.

        CorpusError if the file has another encoding.
        """
        left = data.first_characters
        for block in decode(self.path, self.raw, encoding_of(self.raw, data.encoding)):
            yield block[:left]
            if left is not None:
                left -= len(block)
                if left <= 0:
                    return

    def notes(self, data: Data) -> tuple[str, ...]:
        """Return what a user should know about the file's encoding."""
        notes = []
        encoding = encoding_of(self.raw, data.encoding)
        if encoding != UTF_8:
            notes.append(f"{self.name} is read as {encoding}.")
        if not encoding.startswith("utf-") or encoding == UTF_8:
            zeros = self.raw.count(b"\0")
            if zeros:
                notes.append(
                    f"{self.name} holds {zeros:,} zero bytes, which are symbols like others; "
                    "tr -d '\\0' removes them."
                )
        return tuple(notes)


def _check_regular(path: Path) -> None:
    """Raise CorpusError for a pipe, a folder or a device: a resumed run reads the file again."""
    mode = path.stat().st_mode
    for is_kind, name in _KINDS:
        if is_kind(mode):
            raise CorpusError(
                f"{path}: {name}, and training needs a file, which --resume can read again"
            )


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
        cut = train_length(len(tokens), validation_fraction)
        held_out = len(tokens) - cut
        if cut < _MIN_PART_TOKENS or (validation_fraction and held_out < _MIN_PART_TOKENS):
            raise CorpusError(
                f"{len(tokens)} symbols are too few: {cut} to train on and {held_out} held "
                f"out, and each part needs at least {_MIN_PART_TOKENS}; give a longer text"
            )
        return cls(tokens[max(0, cut - (last_tokens or cut)) : cut], tokens[cut:])


def train_length(tokens: int, validation_fraction: float) -> int:
    """Return how many of a text's tokens are trained on; the rest is held out."""
    return tokens - round(tokens * validation_fraction)
