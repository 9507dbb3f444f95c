"""The symbols a model knows, in the order of their ids."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellwire.exporter.errors import CorpusError


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Characters (Unicode code points); the id of a symbol is its place in `symbols`."""

    symbols: tuple[str, ...]

    @classmethod
    def of(cls, text: str) -> Vocabulary:
        """Every symbol of `text`, in code point order."""
        return cls(tuple(sorted(set(text))))

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> npt.NDArray[np.int64]:
        """Return the ids of `text`, int64 `[n]`; CorpusError names the first unknown symbol."""
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        known = np.array([ord(symbol) for symbol in self.symbols], dtype=np.uint32)
        order = np.argsort(known)
        places = np.searchsorted(known[order], codes).clip(max=len(known) - 1)
        ids: npt.NDArray[np.int64] = order[places].astype(np.int64)
        wrong = np.flatnonzero(known[ids] != codes)
        if wrong.size:
            offset = int(wrong[0])
            raise CorpusError(f"unknown symbol {text[offset]!r} at offset {offset}")
        return ids

    def decode(self, ids: npt.NDArray[np.int64]) -> str:
        """Return the text of `ids`, int64 `[n]`."""
        return "".join(self.symbols[int(i)] for i in ids)
