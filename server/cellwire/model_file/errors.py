"""Errors of model files, and of texts that a model's vocabulary cannot read."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

_SHOWN_SYMBOL_CHARS = 40  # a word may be as long as the text
_SHOWN_CODE_POINTS = 8


class BadModel(Exception):
    """A model file cannot be served; the message names the file and all its faults."""

    def __init__(self, path: PathLike[str], faults: Sequence[str], mend: str = "") -> None:
        """`mend` is what ends several of the faults at once, if anything does."""
        super().__init__(path, faults, mend)
        self.path = path
        self.faults = tuple(faults)
        self.mend = mend

    def __str__(self) -> str:
        return self.named(str(self.path))

    @property
    def reason(self) -> str:
        """The faults without the file."""
        lines = list(self.faults)
        if len(lines) > 1:
            lines = ["", *(f"  - {fault}" for fault in lines)]
        if self.mend:
            lines.append(f"  to mend: {self.mend}")
        return "\n".join(lines)

    def named(self, name: str) -> str:
        """Return the message with another name for the file: clients do not learn its folder."""
        count = f" {len(self.faults)} faults:" if len(self.faults) > 1 else " "
        return f"{name}:{count}{self.reason}"


class TextError(ValueError):
    """A text, or bytes, that the vocabulary cannot read."""


class UnknownSymbol(TextError):
    """A text holds a symbol that is not in the vocabulary."""

    def __init__(self, symbol: str, offset: int) -> None:
        shown = symbol
        if len(symbol) > _SHOWN_SYMBOL_CHARS:
            shown = symbol[:_SHOWN_SYMBOL_CHARS] + "..."
        super().__init__(
            f"the model does not know the symbol {shown!r} ({_code_points(symbol)}) "
            f"at offset {offset} of the text"
        )
        self.symbol = symbol
        self.offset = offset


def _code_points(symbol: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in symbol[:_SHOWN_CODE_POINTS])
