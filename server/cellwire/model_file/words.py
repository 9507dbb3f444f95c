r"""The cutting of texts into words, by Unicode's rules (UAX 29).

The rules for words are spelled out over the property Word_Break: `regex`'s own `\b` takes a mark
at the beginning of a text, and half a flag, for parts of what follows them.
"""

from __future__ import annotations

from functools import cache

import regex

_MARKS = r"[\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}]*+"  # belong to what is before them
_HEBREW = r"\p{WB=Hebrew_Letter}"
_LETTER = rf"[\p{{WB=ALetter}}{_HEBREW}]"
_NEWLINE = r"[\p{WB=CR}\p{WB=LF}\p{WB=Newline}]"
_PICTURE = r"\p{Extended_Pictographic}"

# Letters and numbers, with what stands between two letters or two numbers: o'clock, 3.5.
_LETTERS = rf"""(?:
    (?: [A-Za-z]++ {_MARKS} | {_LETTER} {_MARKS} )
    (?: [\p{{WB=MidLetter}}\p{{WB=MidNumLet}}'] {_MARKS} (?={_LETTER})
      | " {_MARKS} (?<={_HEBREW} {_MARKS} " {_MARKS}) (?={_HEBREW}) )?+
  | \p{{WB=Numeric}} {_MARKS}
    (?: [\p{{WB=MidNum}}\p{{WB=MidNumLet}}'] {_MARKS} (?=\p{{WB=Numeric}}) )?+
)++"""
_KATAKANA = rf"(?: \p{{WB=Katakana}} {_MARKS} )++"
_JOINERS = rf"(?: \p{{WB=ExtendNumLet}} {_MARKS} )++"  # the underscore and its like
_RUN = rf"(?: {_LETTERS} | {_KATAKANA} )"
_WORD = rf"""(?: (?:{_JOINERS})?+ {_RUN} (?: {_JOINERS} (?:{_RUN})?+ )*+ | {_JOINERS} )
    (?: '(?<={_HEBREW} {_MARKS} ') {_MARKS} )?+"""
_FLAG = rf"\p{{WB=Regional_Indicator}} {_MARKS} (?: \p{{WB=Regional_Indicator}} {_MARKS} )?+"
_ZWJ_SEQUENCE = rf"(?: (?<=\u200d) {_PICTURE} {_MARKS} )*+"
_PIECE = rf"(?x: (?: {_WORD} | {_FLAG} | \S {_MARKS} ) {_ZWJ_SEQUENCE} )"

# What most texts of Latin letters are made of, decided without a look at any property.
_PLAIN_PIECE = (
    r"(?:[A-Za-z]++(?=[ \n!#-&(-\-/;-@\[-^`{-~]|[.:'](?=[ \n]))|[!-/:-@\[-^`{-~](?=[\n -~]))"
)
_SPACE = rf"\n|{_NEWLINE}|\s(?x:{_MARKS})"

_EXPRESSIONS = {
    "visible": rf"{_PLAIN_PIECE}|{_PIECE}",
    "all": rf"{_PLAIN_PIECE}|{_PIECE}|{_SPACE}",
    "with_blanks": rf"\ ?+(?:{_PLAIN_PIECE}|{_PIECE})|{_SPACE}",
    # Where nothing that follows can change the pieces before, and a reading can begin: after a
    # new line; before white space; and before what never joins to anything before it.
    "settled": rf"(?<={_NEWLINE})|(?=\s)"
    rf"|(?<!\ )(?=[\p{{WB=Other}}--{_PICTURE}--\s])"
    rf"|(?<![\ \u200d])(?=[{_PICTURE}&&\p{{WB=Other}}])"
    r"|(?<![\ \p{WB=Regional_Indicator}\p{WB=Extend}\p{WB=Format}\p{WB=ZWJ}])"
    r"(?=\p{WB=Regional_Indicator})",
    "word_character": r"[\p{L}\p{M}\p{N}_'\u2019]",
    "closing": r"(?:\p{Pe}|\p{Pf}|\p{Terminal_Punctuation}|[%\u2026])+",
}


@cache
def _pattern(name: str) -> regex.Pattern[str]:
    return regex.compile("(?sV1)" + _EXPRESSIONS[name])


def in_word(character: str) -> bool:
    """Whether a single character belongs to words; false for an empty string."""
    return bool(_pattern("word_character").fullmatch(character))


def closes(piece: str) -> bool:
    """Whether a piece is punctuation that people write without a space before it."""
    return bool(_pattern("closing").fullmatch(piece))


def pieces(text: str) -> list[str]:
    """Cut a text into words and other characters, white space left out."""
    return _pattern("visible").findall(text)


def all_pieces(text: str) -> list[str]:
    """Cut a text into words and other characters, each white space character by itself.

    The pieces join to the text.
    """
    return _pattern("all").findall(text)


def pieces_with_blanks(text: str) -> list[str]:
    """Cut a text into words and other characters, each with the single blank before it.

    Other white space is cut into single characters. The pieces join to the text.
    """
    return _pattern("with_blanks").findall(text)


def settled_places(text: str) -> list[int]:
    """Return the ascending offsets in `text` at which its pieces are settled.

    Whatever follows the text, the pieces before such an offset stay as they are, and those behind
    it are what the text from there on is cut into.
    """
    return [match.start() for match in _pattern("settled").finditer(text)]
