"""Commands that a user can paste into a shell."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterable

from cellwire.exporter.report.printable import printable_line

_QUOTED = re.compile(rb"[\\']|[^ -~]")


def shell_line(words: Iterable[str]) -> str:
    """Return a command as one line that a shell reads as exactly these words."""
    return " ".join(map(_quote, words))


def path_word(path: os.PathLike[str]) -> str:
    """Return a path as a word that no command takes for an option."""
    word = os.fspath(path)
    return f"./{word}" if word.startswith("-") else word


def _quote(word: str) -> str:
    """Quote a word; one with bytes that a terminal cannot show in the shell's $'...' form."""
    if printable_line(word) == word:
        return shlex.quote(word)
    return f"$'{_QUOTED.sub(_escape, os.fsencode(word)).decode('ascii')}'"


def _escape(match: re.Match[bytes]) -> bytes:
    byte = match[0]
    return b"\\" + byte if byte in {b"\\", b"'"} else f"\\x{byte[0]:02x}".encode()
