"""The symbols a model reads and writes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from cellwire.server.errors import UnknownSymbol

Tokens = npt.NDArray[np.uint32]  # half the size of int64: long appends wait in memory


class Vocabulary:
    """Characters (Unicode code points); a token is a symbol's place in `symbols`."""

    def __init__(self, symbols: tuple[str, ...]) -> None:
        self.symbols = symbols
        codes = np.array([ord(symbol) for symbol in symbols], dtype=np.uint32)
        self._order: Tokens = np.argsort(codes).astype(np.uint32)
        self._sorted_codes = codes[self._order]

    def __len__(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> Tokens:
        """Return the tokens of `text`, uint32 `[len(text)]`; UnknownSymbol names the first."""
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        places = np.searchsorted(self._sorted_codes, codes).clip(max=len(self.symbols) - 1)
        strangers = np.flatnonzero(self._sorted_codes[places] != codes)
        if strangers.size:
            offset = int(strangers[0])
            raise UnknownSymbol(text[offset], offset)
        tokens: Tokens = self._order[places]
        return tokens
