"""From what a person gives as a text to what is sent: arguments, stdin, escapes, pieces."""

from __future__ import annotations

import codecs
import re
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NoReturn

from cellwire.client.client import Client
from cellwire.client.commands.outcome import Failed, Misused
from cellwire.client.errors import InvalidArgument
from cellwire.client.model import Model
from cellwire.client.options import UnknownSymbols
from cellwire.client.session import Session

MAX_PIECE_CHARS = 250_000
"""A longer text is sent in several appends: a fourth of what one may have, so that others' turns
come between."""

# The longest first: the mark of UTF-32 begins with that of UTF-16.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ESCAPE = re.compile(r"\\(?:x([0-9A-Fa-f]{2})|u([0-9A-Fa-f]{4})|U([0-9A-Fa-f]{8})|.|$)", re.DOTALL)
_SURROGATES = range(0xD800, 0xE000)
_CONTROLS = {"n": "\n", "t": "\t", "r": "\r", "0": "\0", "\\": "\\", '"': '"', "'": "'"}
_UNKNOWN_SYMBOL = "UNKNOWN_SYMBOL"
_REMEDY = "; leave it out"
"""How the daemon's advice begins: that for programs, in whose place comes that for people."""


def text_of(argument: str, *, escapes: bool = False) -> str:
    """Return an argument, with its escapes read if so; or stdin's text if it is "-"."""
    if argument == "-":
        return stdin_text()
    return unescaped(argument) if escapes else argument


def stop_strings_of(arguments: Sequence[str] | None, *, escapes: bool) -> list[str]:
    """Return the stop strings that are given; Misused if one is empty."""
    stops = [unescaped(one) if escapes else one for one in arguments or ()]
    if "" in stops:
        raise Misused("--stop is an empty text; give at least one character")
    return stops


def stdin_text() -> str:
    """Return the text on stdin, without the line end at its end; Misused if there is none."""
    text = decoded(sys.stdin.buffer.read()).removesuffix("\n").removesuffix("\r")
    if not text:
        raise Misused("stdin holds no text; pipe one into it, or give one instead of -")
    return text


def decoded(data: bytes) -> str:
    """Return stdin's text, from UTF-8, or from what its byte order mark says; Misused."""
    mark, encoding = next((each for each in _MARKS if data.startswith(each[0])), (b"", "utf-8"))
    try:
        text = (data[len(mark) :] if encoding == "utf-8" else data).decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise Misused(
            f"stdin is not {encoding.upper()}: {error.reason} at byte {error.start:,}, in line "
            f"{line:,}; convert it first, for example: iconv -f CP1252 -t UTF-8"
        ) from None
    if not mark and (order := _byte_order(data)):
        raise Misused(
            f"stdin looks like UTF-16 without a byte order mark; convert it first: iconv -f "
            f"UTF-16{order} -t UTF-8"
        )
    return text


def _byte_order(data: bytes) -> str:
    """Return LE or BE if every second byte of the beginning is zero, as in UTF-16; else ""."""
    even, odd = data[0:64:2], data[1:64:2]
    if odd and not any(odd) and any(even):
        return "LE"
    return "BE" if odd and not any(even) and any(odd) else ""


def unescaped(text: str) -> str:
    r"""Return text with \n, \t, \r, \0, \\, \", \', \xHH, \uHHHH and \UHHHHHHHH read; Misused."""

    def read(found: re.Match[str]) -> str:
        escape = found[0]
        if digits := found[1] or found[2] or found[3]:
            code = int(digits, 16)
            if code <= sys.maxunicode and code not in _SURROGATES:
                return chr(code)
        elif escape[1:] in _CONTROLS:
            return _CONTROLS[escape[1:]]
        raise Misused(
            f"there is no escape {escape} (character {found.start()}); there are: \\n \\t \\r \\0 "
            "\\\\ \\\" \\' \\xHH \\uHHHH \\UHHHHHHHH"
        )

    return _ESCAPE.sub(read, text)


def pieces_of(text: str) -> Iterator[str]:
    """Yield a text in pieces of at most MAX_PIECE_CHARS, cut behind a line or word if possible."""
    begin = 0
    while len(text) - begin > MAX_PIECE_CHARS:
        end = begin + MAX_PIECE_CHARS
        blank = max(text.rfind("\n", begin, end), text.rfind(" ", begin, end)) + 1
        end = blank if blank > begin else end
        yield text[begin:end]
        begin = end
    yield text[begin:]


@dataclass(frozen=True, slots=True)
class Prompt:
    """A text to begin a session with, and how to read it."""

    text: str
    """If empty, what the model's vocabulary begins with."""
    model: str | None = None
    seed: int | None = None
    unknown: UnknownSymbols = "reject"


@asynccontextmanager
async def prompted(daemon: Client, prompt: Prompt) -> AsyncIterator[Session]:
    """Open a session, and append the prompt to it in as many pieces as it takes."""
    text = prompt.text or (await daemon.model(prompt.model)).vocabulary.beginning
    session = daemon.session(model=prompt.model, seed=prompt.seed, unknown_symbols=prompt.unknown)
    async with session:
        await append(session, text)
        yield session


async def append(session: Session, text: str) -> float:
    """Append a text of any length; return its log-probability. Failed if it cannot be read."""
    log_probability, begin = 0.0, 0
    for piece in pieces_of(text):
        try:
            log_probability += (await session.append(piece)).log_probability
        except InvalidArgument as error:
            _refuse(error, piece, begin, session.model)
        begin += len(piece)
    return log_probability


def _refuse(error: InvalidArgument, piece: str, begin: int, model: Model) -> NoReturn:
    """Say what cannot be read, where, and how to have it read even so."""
    where = f" (after the first {begin:,} characters)" if begin else ""
    if error.reason != _UNKNOWN_SYMBOL:
        raise Failed(f"{error}{where}") from error
    hint = "--unknown skip leaves out what the model does not know"
    if model.vocabulary.unknown_symbol is not None:
        hint += ", --unknown replace puts its symbol for that in its place"
    if "\\" in error.metadata.get("symbol", "") and _ESCAPE.search(piece):
        hint = f"--escapes reads \\n as a line feed, and \\t as a tab; {hint}"
    found = str(error).partition(_REMEDY)[0]
    raise Failed(f"{found}{where}; {hint}") from error
