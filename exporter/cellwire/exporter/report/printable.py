"""Foreign text on a terminal: names, labels and samples that cannot move the cursor."""

from __future__ import annotations

import re

# Control characters, line and paragraph separators, changes of direction, and lone surrogates.
_HARMFUL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
_NAMES = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}
_TWO_BYTES = 0x100
_BYTES = range(0xDC80, 0xDD00)  # how Python stands for bytes of arguments that are not UTF-8


def printable_line(text: str) -> str:
    """Return `text` as one line; what does more than show a character becomes an escape."""
    return _HARMFUL.sub(_escape, text)


def printable_lines(text: str) -> str:
    """Return `text` as `printable_line` does, but with its lines and tabs."""
    return "\n".join("\t".join(map(printable_line, line.split("\t"))) for line in text.split("\n"))


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in _NAMES:
        return _NAMES[match[0]]
    if code in _BYTES:
        return f"\\x{code - 0xDC00:02x}"
    return f"\\x{code:02x}" if code < _TWO_BYTES else f"\\u{code:04x}"
