"""How a command ends: its exit status, and what went wrong as one line on stderr."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Coroutine
from typing import NoReturn

from cellwire.client.commands.output import say, stop_writing
from cellwire.client.errors import CellwireError, Unavailable, Unreachable

FAILED = 1
"""The exit status if the daemon refuses, is lost or is not there, or a file cannot be used."""
MISUSED = 2
"""The exit status if the command line, or the text on stdin, is wrong."""
INTERRUPTED = 130
"""The exit status after Ctrl-C, as in shells: 128 + SIGINT."""

TRACEBACK_VARIABLE = "CELLWIRE_TRACEBACK"
"""If this environment variable is set, a fault of Cellwire's own is shown with its traceback."""


class Misused(Exception):
    """The command line, or the text on stdin, is wrong; the message says what is right."""


class Failed(Exception):
    """The command cannot do what it was told; the message says why, and what to do."""


def status_of(command: Callable[[], int]) -> int:
    """Run a command and return its exit status; each error becomes one line on stderr."""
    try:
        return command()
    except KeyboardInterrupt:
        return INTERRUPTED
    except OSError as error:
        return _status_of_system_error(error)
    except Exception as error:
        expected = isinstance(error, (Misused, Failed, CellwireError, MemoryError))
        if not expected and os.environ.get(TRACEBACK_VARIABLE):
            raise
        say(_line_of(error))
        return MISUSED if isinstance(error, Misused) else FAILED


def _line_of(error: Exception) -> str:
    match error:
        case Misused() | Failed() | CellwireError():
            return str(error)
        case MemoryError():
            return "there is not enough memory"
        case _:
            return (
                f"{type(error).__name__}: {error}; this is a fault of Cellwire: please report it "
                f"with the traceback, which {TRACEBACK_VARIABLE}=1 shows"
            )


def _status_of_system_error(error: OSError) -> int:
    # A reader such as `head` closes the pipe when it has enough.
    quiet = isinstance(error, BrokenPipeError) or error.errno in (errno.EPIPE, errno.ESHUTDOWN)
    if not quiet:
        what = f"{error.filename}: " if error.filename else "cannot read or write: "
        say(f"{what}{error.strerror or error}")
    stop_writing()
    return 0 if quiet else FAILED


def run(command: Coroutine[None, None, None], target: str) -> None:
    """Run a command that talks to the daemon at target; its errors are those of `status_of`."""
    import asyncio

    try:
        asyncio.run(command)
    except Unreachable:
        raise
    except BrokenPipeError:
        stop_writing()  # typer would end with 1
    except Unavailable as error:
        raise Failed(f"lost the daemon at {target}: {error}") from error


def fail(message: str) -> NoReturn:
    """End the command with a line on stderr and the status FAILED."""
    raise Failed(message)


def standard_streams() -> None:
    """Make the standard streams usable however the process was started.

    A closed one is replaced by one that holds nothing. No write to one fails for want of a
    character; `output.show`, which writes text that may be read again, checks that itself.
    """
    for name in ("stdin", "stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            mode = "r" if name == "stdin" else "w"
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123  # kept open
        elif name != "stdin" and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
