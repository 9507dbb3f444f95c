"""Vocabularies and texts of the models that are measured; without torch, which imports slowly."""

from __future__ import annotations

import string

VOCABULARY = 83  # of the built-in model

_FIRST_IDEOGRAPH = 0x4E00


def symbols_of(vocabulary: int) -> str:
    """Return the symbols of a vocabulary of this size: printable ASCII, then ideographs."""
    ascii_ = string.printable[:VOCABULARY]
    return (ascii_ + "".join(chr(_FIRST_IDEOGRAPH + i) for i in range(vocabulary)))[:vocabulary]


def text_of(tokens: int) -> str:
    """Return a text that every model of the benchmarks can read; a character is a token."""
    words = string.ascii_lowercase
    return (words * (tokens // len(words) + 1))[:tokens]
