"""Word vectors: read from a file, and asked which words are alike."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cellwire.exporter.errors import VectorsError

Float32 = npt.NDArray[np.float32]

# What the source checkout brings: the 5,000 most frequent words of GloVe 6B, 50 numbers each.
COMMITTED = Path(__file__).parents[3] / "corpora" / "glove.6B.50d.top5000.txt"


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A word, and the cosine between its vector and the one asked for."""

    word: str
    cosine: float


@dataclass(frozen=True, slots=True, eq=False)
class Vectors:
    """Words, each once, and the vector of each."""

    words: tuple[str, ...]
    values: Float32  # [words, width]

    @classmethod
    def read(cls, path: Path) -> Vectors:
        """Read GloVe's text format: a line a word, the word and its numbers, single spaces between.

        Raises VectorsError, with the number of the line, where the file is not that.
        """
        try:
            lines = path.read_bytes().removesuffix(b"\n").split(b"\n")
        except OSError as error:
            raise VectorsError(f"{path}: {error.strerror}") from error
        width = lines[0].count(b" ")
        seen: dict[str, int] = {}
        values = np.empty((len(lines), width), np.float32)
        for row, line in enumerate(lines):
            try:
                word, values[row] = _parse(line, width)
                if word in seen:
                    raise ValueError(f"{word!r} is already in line {seen[word] + 1}")  # noqa: TRY301  # told like what _parse finds
            except ValueError as error:
                raise VectorsError(
                    f"{path}, line {row + 1}: {error}; "
                    "each line is to be a word and its numbers, as in GloVe's files"
                ) from error
            seen[word] = row
        return cls(tuple(seen), values)

    def neighbours(self, word: str, n: int) -> tuple[Neighbour, ...]:
        """Return the `n` words most like `word`, the likest first; VectorsError if unknown."""
        return self._nearest([(1, word)], n)

    def analogy(self, a: str, b: str, c: str, n: int) -> tuple[Neighbour, ...]:
        """Return the `n` best answers to "`a` is to `b` as `c` is to what?".

        They lie closest to b - a + c, of vectors of length 1 (Mikolov et al. 2013); a, b and c are
        not among them. Raises VectorsError for unknown words.
        """
        return self._nearest([(1, b), (-1, a), (1, c)], n)

    def _nearest(self, terms: list[tuple[int, str]], n: int) -> tuple[Neighbour, ...]:
        places = [self._place(word) for _, word in terms]
        units = _units(self.values)
        wanted = sum(sign * units[place] for (sign, _), place in zip(terms, places, strict=True))
        cosines = units @ _units(np.atleast_2d(wanted))[0]
        order = [place for place in np.argsort(-cosines, kind="stable") if place not in places]
        return tuple(Neighbour(self.words[place], float(cosines[place])) for place in order[:n])

    def _place(self, word: str) -> int:
        try:
            return self.words.index(word)
        except ValueError as error:
            near = difflib.get_close_matches(word, self.words)
            hint = f"; spelt much like it: {', '.join(near)}" if near else ""
            raise VectorsError(f"there is no vector for {word!r}{hint}") from error


def _parse(line: bytes, width: int) -> tuple[str, Float32]:
    """Return a line's word and vector; ValueError says what is wrong with it."""
    # Split at spaces only: some of GloVe's words hold other white space.
    word, *numbers = line.decode().split(" ")
    if not word or not numbers:
        raise ValueError("there is no word with numbers after it")
    if len(numbers) != width:
        raise ValueError(f"{len(numbers)} numbers, and {width} in line 1")
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused below
        values = np.array([float(number) for number in numbers]).astype(np.float32)
    if not np.isfinite(values).all():
        raise ValueError("a number that is not finite")
    return word, values


def _units(rows: npt.NDArray[np.float32 | np.float64]) -> npt.NDArray[np.float64]:
    """Return rows `[n, width]` at length 1; rows of zeros stay zero."""
    exact = rows.astype(np.float64)
    lengths = np.linalg.norm(exact, axis=1, keepdims=True)
    return exact / np.where(lengths > 0, lengths, 1)
