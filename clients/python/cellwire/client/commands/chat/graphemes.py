"""User-perceived characters (UAX 29), their words, and how each is shown in a terminal.

Places are numbers of code points from the start of a text.
"""

from __future__ import annotations

import unicodedata
from functools import lru_cache

import regex
from rich.cells import cell_len

_GRAPHEME = regex.compile(r"\X")
_WORD_EDGE = regex.compile(r"(?w)\b")
_REACH = 512
"""How far to look for a boundary: no user-perceived character or word is as long."""

TAB_WIDTH = 4
_TAB = "\t"
_HARMLESS_FORMATS = {"\u200c", "\u200d"}
"""The joiners: parts of a character, and without a width where they are alone."""


def graphemes(text: str) -> list[str]:
    """Return the user-perceived characters of a text."""
    return _GRAPHEME.findall(text)


def grapheme_start(text: str, place: int) -> int:
    """Return where the character before a place begins; 0 at the start."""
    window = _window_start(text, place)
    start = window
    for match in _GRAPHEME.finditer(text, window, place):
        start = match.start()
    return start


def grapheme_end(text: str, place: int) -> int:
    """Return where the character after a place ends; the text's length at its end."""
    match = _GRAPHEME.match(text, place)
    return match.end() if match else len(text)


def is_boundary(text: str, place: int) -> bool:
    """Whether no user-perceived character of the text extends over a place."""
    if place in {0, len(text)}:
        return True
    return grapheme_end(text, grapheme_start(text, place)) == place


def word_start(text: str, place: int) -> int:
    """Return where the word before a place begins, across the white space between them."""
    words_end = len(text[:place].rstrip())
    window = max(0, words_end - _REACH)
    edges = [edge.start() for edge in _WORD_EDGE.finditer(text, window, words_end)]
    return max((edge for edge in edges if edge < words_end), default=window)


def word_end(text: str, place: int) -> int:
    """Return where the word after a place ends, across the white space between them."""
    rest = text[place : place + _REACH]
    start = len(rest) - len(rest.lstrip())
    edges = (edge.start() for edge in _WORD_EDGE.finditer(rest) if edge.start() > start)
    return place + next(edges, len(rest))


@lru_cache(maxsize=16_384)
def shown(grapheme: str) -> tuple[str, bool]:
    """Return what stands for a character in a terminal, and whether it is something else.

    Control characters and invisible ones, which can move the cursor or turn the line round, have a
    visible sign.
    """
    if grapheme == _TAB:
        return " " * TAB_WIDTH, False
    first = grapheme[0]
    category = unicodedata.category(first)
    if category == "Cc":
        return _control_sign(ord(first)), True
    if category in {"Zl", "Zp"}:
        return "↵", True
    if any(unicodedata.category(one) == "Cf" and one not in _HARMLESS_FORMATS for one in grapheme):
        # Tags in flags are format characters, too; without them, a flag is still a flag.
        rest = "".join(one for one in grapheme if unicodedata.category(one) != "Cf")
        return (rest or "·"), True
    if cell_len(grapheme) == 0:
        return "◌" + grapheme, True
    return grapheme, False


def width(grapheme: str) -> int:
    """Return how many columns the sign of a character takes."""
    return cell_len(shown(grapheme)[0])


def _control_sign(code: int) -> str:
    pictures, delete = 0x2400, 0x7F
    if code < ord(" "):
        return chr(pictures + code)
    return "␡" if code == delete else "�"


def _window_start(text: str, place: int) -> int:
    """Return a boundary well before a place: after white space if there is some."""
    start = max(0, place - _REACH)
    if start == 0:
        return 0
    spaces = [at for at in range(start, place - 1) if text[at] in " \n"]
    return spaces[0] if spaces else start
