"""Errors of model files, and of texts that a model's vocabulary cannot read."""

from __future__ import annotations

from collections.abc import Sequence
from os import PathLike

_SHOWN_SYMBOL_CHARS = 40  # a word may be as long as the text
_SHOWN_CODE_POINTS = 8

# By the field of a request: where the symbol stands, and what to do about it.
_PLACES = {"stop_strings": "the stop string", "logit_bias": "the biased symbol"}
_REMEDIES = {
    "stop_strings": "the model never writes it: give another stop string, or none",
    "logit_bias": "name one of the model's symbols",
}
_REMEDY = "leave it out, or open the session with unknown_symbols = skip"


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

    def __init__(self, symbol: str, offset: int, others: tuple[str, ...] = ()) -> None:
        """`offset` is in the text as it was given; `others` are further unknown symbols."""
        self.symbol = symbol
        self.offset = offset
        self.others = others
        super().__init__(self.message())

    def message(self, field: str = "text") -> str:
        """Return what was found and what to do, for a field of a request."""
        others = f", nor {', '.join(map(_shown, self.others))}" if self.others else ""
        return (
            f"the model does not know the symbol {_shown(self.symbol)} "
            f"({_code_points(self.symbol)}) at offset {self.offset} of "
            f"{_PLACES.get(field, 'the text')}{others}; {_REMEDIES.get(field, _REMEDY)}"
        )


def _shown(symbol: str) -> str:
    shortened = len(symbol) > _SHOWN_SYMBOL_CHARS
    return repr(symbol[:_SHOWN_SYMBOL_CHARS] + "..." if shortened else symbol)


def _code_points(symbol: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in symbol[:_SHOWN_CODE_POINTS])
