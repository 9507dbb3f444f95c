"""The `cellwire` command in this process, with standard streams of any bytes and encoding."""

from __future__ import annotations

import io
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from cellwire.client.commands import cli


@dataclass(frozen=True, slots=True)
class Ran:
    """How a command ended, and what it wrote."""

    status: int
    out: str
    err: str

    @property
    def is_one_line(self) -> bool:
        """Whether stderr has one line of the command's, and no more."""
        return self.err.startswith("cellwire: ") and self.err.count("\n") == 1


class Terminal(io.TextIOWrapper):
    """A stream that says that it is a terminal."""

    def isatty(self) -> bool:
        return True


def run(
    arguments: Sequence[str],
    stdin: bytes = b"",
    encoding: str = "utf-8",
    *,
    terminal: bool = False,
) -> Ran:
    """Run a command line."""
    out = (Terminal if terminal else io.TextIOWrapper)(
        io.BytesIO(), encoding=encoding, newline="\n"
    )
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", newline="\n")
    with _streams(io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8"), out, err):
        status = cli.run(arguments)
        out.flush()
        err.flush()
    return Ran(status, _text(out, encoding), _text(err, "utf-8"))


def _text(stream: io.TextIOWrapper, encoding: str) -> str:
    buffer = stream.buffer
    assert isinstance(buffer, io.BytesIO)
    return buffer.getvalue().decode(encoding)


@contextmanager
def _streams(*streams: io.TextIOWrapper) -> Iterator[None]:
    before = sys.stdin, sys.stdout, sys.stderr
    sys.stdin, sys.stdout, sys.stderr = streams
    try:
        yield
    finally:
        sys.stdin, sys.stdout, sys.stderr = before
