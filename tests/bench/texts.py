"""Vocabularies and texts of the models that are measured; without torch, which imports slowly."""

from __future__ import annotations

import string

VOCABULARY = 83  # of the built-in model

_IDEOGRAPHS = (*range(0x4E00, 0x9F00), *range(0x20000, 0x2A6D0))


def symbols_of(vocabulary: int) -> str:
    """Return the symbols of a vocabulary of this size: printable ASCII, then ideographs."""
    ascii_ = string.printable[:VOCABULARY]
    return (ascii_ + "".join(map(chr, _IDEOGRAPHS[:vocabulary])))[:vocabulary]


def text_of(tokens: int) -> str:
    """Return a text that every model of the benchmarks can read; a character is a token."""
    words = string.ascii_lowercase
    return (words * (tokens // len(words) + 1))[:tokens]
