"""Errors of model files, and of texts that a model's vocabulary cannot read."""

from __future__ import annotations

_SHOWN_SYMBOL_CHARS = 40  # a word may be as long as the text
_SHOWN_CODE_POINTS = 8


class BadModel(Exception):
    """A model file cannot be served; the message names the file and the fault."""


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
