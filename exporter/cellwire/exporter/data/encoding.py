"""The encoding of a file: its byte order mark, the recipe's setting, or UTF-8; else a guess.

A guess is only named in an error, together with the setting and the command that apply it: text
that is read in a wrong encoding would train on wrong characters without a word.
"""

from __future__ import annotations

import codecs
import shlex
import unicodedata
from collections.abc import Iterator
from pathlib import Path

from cellwire.exporter.errors import CorpusError

UTF_8 = "utf-8"
BLOCK_BYTES = 1 << 18  # decoded at a time

# UTF-32 before UTF-16, whose mark begins like that of UTF-32. The codecs drop these marks; that of
# UTF-8 stays in the text, where the vocabulary drops it, in training as in serving.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OTHER_FILES = (
    (b"PK\x03\x04", "a ZIP file, such as a workbook of a spreadsheet; save it as CSV (UTF-8)"),
    (b"\xd0\xcf\x11\xe0", "an old office document; save it as text or CSV (UTF-8)"),
    (b"\x1f\x8b", "compressed by gzip; decompress it with gunzip"),
    (b"%PDF", "a PDF; convert it to text, for example with pdftotext"),
)
# Python's name of each, and iconv's.
_GUESSES = {
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


def encoding_of(raw: bytes, setting: str | None) -> str:
    """Return the setting, or the encoding that a file's byte order mark names, or UTF-8."""
    if setting:
        return setting
    return next((name for mark, name in _MARKS if raw.startswith(mark)), UTF_8)


def decode(path: Path, raw: bytes, encoding: str) -> Iterator[str]:
    """Yield a file's text in blocks; CorpusError says what it may be instead, and how to mend it.

    No block is empty.
    """
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    for start in range(0, len(raw), BLOCK_BYTES):
        waiting = len(decoder.getstate()[0])
        last = start + BLOCK_BYTES >= len(raw)
        try:
            text = decoder.decode(raw[start : start + BLOCK_BYTES], last)
        except UnicodeDecodeError as error:
            place = start - waiting + error.start
            raise CorpusError(_complaint(path, raw, encoding, place)) from error
        except UnicodeError as error:
            raise CorpusError(f"{path}: not {encoding}: {error}") from error
        if text:
            yield text


def _complaint(path: Path, raw: bytes, encoding: str, place: int) -> str:
    """Return what is wrong with a file, what it seems to be, and what to do."""
    found = f"{path}: not {_shown(encoding)} (byte {place:,} is 0x{raw[place]:02x})"
    for start, kind in _OTHER_FILES:
        if raw.startswith(start):
            return f"{path}: not text; it is {kind}"
    guess = guess_encoding(raw, place)
    if guess is None and encoding != UTF_8:
        return f"{found}; the file is broken there, or has another encoding"
    if guess is None:
        return f"{found}, and holds zero bytes, as no text does; it seems to be a binary file"
    file = shlex.quote(str(path))
    new = shlex.quote(str(path.with_suffix(f".utf8{path.suffix}")))
    return (
        f"{found}; it seems to be {guess}. Read it so with --set data.encoding={guess}, or "
        f"convert it with: iconv -f {_GUESSES[guess]} -t UTF-8 {file} > {new}"
    )


def _shown(encoding: str) -> str:
    return encoding.upper() if encoding.lower().startswith("utf") else encoding


def guess_encoding(raw: bytes, place: int = 0) -> str | None:
    """Return the encoding of a file that is not UTF-8 at a byte; None if it is no text.

    The encoding can decode the whole file.
    """
    if raw.count(b"\0") >= _LEAST_NULS:
        return next((name for name in _utf_16_by_zeros(raw) if _decodes(raw, name)), None)
    sample = raw[max(0, place - 100) : place + _SAMPLE_BYTES]
    names = [name for name in _GUESSES if not name.startswith("utf")]
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
        for start in range(0, len(raw), BLOCK_BYTES):
            decoder.decode(raw[start : start + BLOCK_BYTES], start + BLOCK_BYTES >= len(raw))
    except UnicodeError:
        return False
    return True


def _score(sample: bytes, encoding: str) -> float:
    """Return how much the characters beyond ASCII look like text: points for each of their bytes."""
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
        # Made of a letter of ASCII and the byte before it, if the encoding is another.
        if before.isascii() and before.isalpha():
            return -1.0
        name = unicodedata.name(character, "")
        if name.startswith(_SYLLABLES.get(encoding, ())):
            return 1.5
        return 0.8 if name.startswith(("CJK", "IDEOGRAPHIC", "FULLWIDTH")) else -1.0
    if category == "Ll":
        # Letters of a script of their own follow each other; accented ones stand among ASCII's.
        alike = before.isascii() == (encoding in _LATIN)
        return 1.2 if alike or not before.isalpha() else 0.6
    if category == "Lu":
        return -0.5 if before.islower() else 0.7
    if character in "¿¡":
        return 1.3
    return 0.5 if category in _PUNCTUATION or character in "\u00a0°§" else -1.0


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
