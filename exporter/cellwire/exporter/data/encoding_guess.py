"""The guess of a file's encoding, by how much of it looks like text."""

from __future__ import annotations

import codecs
import unicodedata

# Python's name of each, and iconv's.
ICONV_NAMES = {
    "cp1252": "CP1252",
    "cp1250": "CP1250",
    "cp1251": "CP1251",
    "koi8-r": "KOI8-R",
    "cp1253": "CP1253",
    "shift_jis": "SHIFT_JIS",
    "euc_jp": "EUC-JP",
    "euc_kr": "EUC-KR",
    "big5": "BIG5",
    "gb18030": "GB18030",
    "latin-1": "ISO-8859-1",
    "utf-16-le": "UTF-16LE",
    "utf-16-be": "UTF-16BE",
}
_SAMPLE_BYTES = 20_000  # from the first byte that is not ASCII
_NULS_OF_UTF_16 = 0.2  # of all bytes: every second one of Latin text
_LEAST_NULS = 2
_BLOCK_BYTES = 1 << 18
_LATIN = ("cp1252", "cp1250", "latin-1")
_PUNCTUATION = ("Pd", "Pi", "Pf", "Po", "Ps", "Pe", "Sc")
# The beginnings of the names of the characters that each encoding is for.
_SYLLABLES: dict[str, tuple[str, ...]] = {
    "shift_jis": ("HIRAGANA", "KATAKANA"),
    "euc_jp": ("HIRAGANA", "KATAKANA"),
    "euc_kr": ("HANGUL SYLLABLE",),
    "big5": (),
    "gb18030": (),
}


def guess_encoding(raw: bytes, place: int = 0) -> str | None:
    """Return the encoding of a file that is not UTF-8 at a byte; None if it is no text.

    The encoding can decode the whole file.
    """
    if raw.count(b"\0") >= _LEAST_NULS:
        return next((name for name in _utf_16_by_zeros(raw) if _decodes(raw, name)), None)
    sample = raw[max(0, place - 100) : place + _SAMPLE_BYTES]
    names = [name for name in ICONV_NAMES if not name.startswith("utf")]
    by_score = sorted(names, key=lambda name: -_score(sample, name))
    return next(name for name in by_score if _decodes(raw, name))  # latin-1 decodes anything


def _utf_16_by_zeros(raw: bytes) -> tuple[str, ...]:
    """Return UTF-16 in its byte order, if so many bytes are zero that the text may be Latin."""
    even, odd = raw[::2].count(b"\0"), raw[1::2].count(b"\0")
    if even + odd < _NULS_OF_UTF_16 * len(raw):
        return ()
    return ("utf-16-le",) if odd > even else ("utf-16-be",)


def _decodes(raw: bytes, encoding: str) -> bool:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    try:
        for start in range(0, len(raw), _BLOCK_BYTES):
            decoder.decode(raw[start : start + _BLOCK_BYTES], start + _BLOCK_BYTES >= len(raw))
    except UnicodeError:
        return False
    return True


def _score(sample: bytes, encoding: str) -> float:
    """Return how much the characters beyond ASCII look like text: points for each byte."""
    points, size, before = 0.0, 0, " "
    for character in sample.decode(encoding, "replace"):
        if not character.isascii():
            length = len(character.encode(encoding, "replace"))
            points += _plausibility(character, before, encoding) * length
            size += length
        before = character
    return points / max(1, size)


def _plausibility(character: str, before: str, encoding: str) -> float:
    """Return the points of a character: letters where letters are, in their usual case."""
    category = unicodedata.category(character)
    if encoding in _SYLLABLES or category == "Lo":
        return _plausibility_of_syllable(character, before, encoding)
    if category == "Ll":
        # Letters of a script of their own follow each other; accented ones stand among ASCII's.
        alike = before.isascii() == (encoding in _LATIN)
        return 1.2 if alike or not before.isalpha() else 0.6
    if category == "Lu":
        return -0.5 if before.islower() else 0.7
    if character in "¿¡":
        return 1.3
    return 0.5 if category in _PUNCTUATION or character in "\u00a0°§" else -1.0


def _plausibility_of_syllable(character: str, before: str, encoding: str) -> float:
    if before.isascii() and before.isalpha():
        return -1.0  # made of an accented letter and one of ASCII, if the encoding is another
    name = unicodedata.name(character, "")
    if name.startswith(_SYLLABLES.get(encoding, ())):
        return 1.5
    return 0.8 if name.startswith(("CJK", "IDEOGRAPHIC", "FULLWIDTH")) else -1.0
