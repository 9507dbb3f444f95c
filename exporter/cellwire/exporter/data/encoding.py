"""The encoding of a file: its byte order mark, the recipe's setting, or UTF-8; else a guess.

A guess is only named in an error, together with the setting and the command that apply it: text
that is read in a wrong encoding would train on wrong characters without a word.
"""

from __future__ import annotations

import codecs
import shlex
from collections.abc import Iterator
from pathlib import Path

from cellwire.exporter.data.encoding_guess import ICONV_NAMES, guess_encoding
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
        f"convert it with: iconv -f {ICONV_NAMES[guess]} -t UTF-8 {file} > {new}"
    )


def _shown(encoding: str) -> str:
    return encoding.upper() if encoding.lower().startswith("utf") else encoding
