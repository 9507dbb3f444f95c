"""What the commands write: text to stdout, everything else to stderr."""

from __future__ import annotations

import contextlib
import os
import re
import sys

# What could move the cursor, change the terminal or turn the order of what is shown: control
# characters except tab and line feed, and the marks of Unicode's bidirectional algorithm.
_HARMFUL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def show(text: str) -> None:
    """Write text to stdout at once: as it is, but harmlessly to a terminal.

    Raises Misused if stdout is no terminal, and its encoding lacks a character.
    """
    out = sys.stdout
    if out.isatty():
        out.write(harmless(text))
    else:
        _check(text, out.encoding or "utf-8")
        out.write(text)
    out.flush()


def _check(text: str, encoding: str) -> None:
    try:
        text.encode(encoding)
    except UnicodeEncodeError as error:
        from cellwire.client.commands.outcome import Misused

        character = text[error.start]
        raise Misused(
            f"stdout's encoding, {encoding}, has no U+{ord(character):04X}; set PYTHONUTF8=1, or a "
            "locale of UTF-8"
        ) from None


def harmless(text: str) -> str:
    """Return text that changes nothing in a terminal but the characters that it shows.

    Control characters are escaped as in Python's strings. Each is by itself, so it makes no
    difference how a text is cut.
    """
    return _HARMFUL.sub(lambda found: _escaped(found[0]), text)


def on_one_line(text: str) -> str:
    """Return text with backslashes and non-printable characters escaped as in Python's strings.

    U+200C and U+200D are kept: they join characters into one, as in emoji of several.
    """
    return "".join(
        _escaped(character)
        if character == "\\" or not (character.isprintable() or character in "\u200c\u200d")
        else character
        for character in text
    )


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode()


def say(message: str) -> None:
    """Write one line to stderr; stdout is for text alone."""
    line = harmless(" ".join(message.split()))
    # Whoever has closed stderr does not want to know.
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"cellwire: {line}\n")
        sys.stderr.flush()


def stop_writing() -> None:
    """Let what is left for stdout go nowhere, or Python's flush at exit would fail."""
    with contextlib.suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
