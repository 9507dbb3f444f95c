"""The cutting of texts into words.

A word is a run of letters, marks and numbers (Unicode's categories L, M and N), underscores and
apostrophes. Any other character is a piece by itself.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from functools import cache

_LETTERS_AND_NUMBERS = r"\w"  # with the underscore
_APOSTROPHES = "'\u2019"
_FIRST_HIGH = 0x10000


def in_word(character: str) -> bool:
    """Whether a single character belongs to words; false for an empty string."""
    return bool(_pattern("word_character").fullmatch(character))


def pieces(text: str) -> list[str]:
    """Cut a text into words and other characters, white space left out."""
    return _pattern("visible").findall(text)


def pieces_with_offsets(text: str) -> Iterator[tuple[int, str]]:
    """Cut a text into words and other characters, white space included; yield their offsets."""
    return ((match.start(), match[0]) for match in _pattern("any").finditer(text))


@cache
def _pattern(name: str) -> re.Pattern[str]:
    marks = _marks()
    # A class without characters above 0xFFFF is matched by a table; the high marks are rare.
    low = _LETTERS_AND_NUMBERS + _APOSTROPHES + _ranges(c for c in marks if c < _FIRST_HIGH)
    high = _ranges(c for c in marks if c >= _FIRST_HIGH)
    word = rf"(?:[{low}]+|(?=[^\0-\uffff])[{high}]+)+"
    expressions = {
        "word_character": f"[{low}{high}]",
        "visible": rf"{word}|\S",
        "any": rf"{word}|[\s\S]",
    }
    return re.compile(expressions[name])


@cache
def _marks() -> tuple[int, ...]:
    codes = range(sys.maxunicode + 1)
    return tuple(code for code in codes if unicodedata.category(chr(code))[0] == "M")


def _ranges(codes: Iterable[int]) -> str:
    """Return ascending code points as the ranges of a regular expression's class."""
    spans: list[list[int]] = []
    for code in codes:
        if spans and spans[-1][1] == code - 1:
            spans[-1][1] = code
        else:
            spans.append([code, code])
    return "".join(f"\\U{first:08x}-\\U{last:08x}" for first, last in spans)
