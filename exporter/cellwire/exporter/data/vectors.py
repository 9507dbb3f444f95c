"""Word vectors: read from a file, and queried for similar words."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellwire.exporter.errors import VectorsError

Float32 = npt.NDArray[np.float32]

_FILE = "corpora/glove.6B.50d.top5000.txt"
# In the source checkout in exporter/corpora; in an installed package beside the exporter's rooms.
_CHECKOUT, _INSTALLED = Path(__file__).parents[3] / _FILE, Path(__file__).parents[1] / _FILE

COMMITTED = _INSTALLED if _INSTALLED.is_file() else _CHECKOUT
"""The 5,000 most frequent words of GloVe 6B, 50 numbers each."""


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A word, and the cosine of the angle between its vector and the query."""

    word: str
    cosine: float


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Words without duplicates, and their vectors."""

    words: tuple[str, ...]
    values: Float32  # [words, width]

    @classmethod
    def read(cls, path: Path) -> Vectors:
        """Read GloVe's text format: a line a word, the word and its numbers, single spaces between.

        VectorsError names the line at fault.
        """
        try:
            lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
        except OSError as error:
            raise VectorsError(f"{path}: {error.strerror}") from error
        except ValueError as error:
            raise VectorsError(f"{str(path)!r}: {error}") from error
        width = lines[0].count(b" ")
        rows: dict[str, int] = {}
        values = np.empty((len(lines), width), np.float32)
        for row, line in enumerate(lines):
            try:
                word, values[row] = _parse(line, width)
                _check_new(word, rows)
            except ValueError as error:
                raise VectorsError(
                    f"{path}, line {row + 1}: {error}; "
                    "each line must be a word and its numbers, as in GloVe's files"
                ) from error
            rows[word] = row
        return cls(tuple(rows), values)

    def neighbours(self, word: str, n: int) -> tuple[Neighbour, ...]:
        """Return the `n` words most similar to `word`, best first; VectorsError if unknown."""
        return self._nearest([(1, word)], n)

    def analogy(self, a: str, b: str, c: str, n: int) -> tuple[Neighbour, ...]:
        """Return the `n` best answers to "`a` is to `b` as `c` is to what?".

        They are nearest to b - a + c, of vectors of length 1 (Mikolov et al. 2013); a, b and c are
        left out. VectorsError names an unknown word.
        """
        return self._nearest([(1, b), (-1, a), (1, c)], n)

    def _nearest(self, terms: list[tuple[int, str]], n: int) -> tuple[Neighbour, ...]:
        """Return the words nearest to a sum of signed words, which are left out."""
        term_rows = [self._row(word) for _, word in terms]
        units = _normalize(self.values)
        query = sum(sign * units[row] for (sign, _), row in zip(terms, term_rows, strict=True))
        cosines = units @ _normalize(np.atleast_2d(query))[0]
        order = [row for row in np.argsort(-cosines, kind="stable") if row not in term_rows]
        return tuple(Neighbour(self.words[row], float(cosines[row])) for row in order[:n])

    def _row(self, word: str) -> int:
        try:
            return self.words.index(word)
        except ValueError as error:
            matches = difflib.get_close_matches(word, self.words)
            hint = f"; similar spellings: {', '.join(matches)}" if matches else ""
            raise VectorsError(f"there is no vector for {word!r}{hint}") from error


def _parse(line: bytes, width: int) -> tuple[str, Float32]:
    """Return a line's word and its vector `[width]`; ValueError names the fault."""
    # Split at spaces only: some of GloVe's words contain other white space.
    word, *numbers = line.decode().split(" ")
    if not word or not numbers:
        raise ValueError("there is no word with numbers after it")
    if len(numbers) != width:
        raise ValueError(f"{len(numbers)} numbers, and {width} in line 1")
    with np.errstate(over="ignore"):  # overflow becomes infinity, which is refused below
        values = np.array([float(number) for number in numbers]).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a number that is not finite")
    return word, values


def _check_new(word: str, rows: dict[str, int]) -> None:
    """Raise ValueError if a word has a row."""
    if word in rows:
        raise ValueError(f"{word!r} is already in line {rows[word] + 1}")


def _normalize(rows: npt.NDArray[np.float32 | np.float64]) -> npt.NDArray[np.float64]:
    """Return rows `[n, width]` scaled to length 1; rows of zeros stay zero."""
    in_float64 = rows.astype(np.float64)
    lengths = np.linalg.norm(in_float64, axis=1, keepdims=True)
    return in_float64 / np.where(lengths > 0, lengths, 1)
