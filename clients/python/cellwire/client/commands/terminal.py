"""What the commands share: running, output, and errors as one line on stderr."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import NoReturn

import typer

from cellwire.client.errors import CellwireError, Unavailable, Unreachable

INTERRUPTED = 130
"""The exit code after Ctrl-C, as in shells: 128 + SIGINT."""


def run(command: Coroutine[None, None, None], target: str) -> None:
    """Run a command that talks to the daemon at target; an error exits with its code."""
    try:
        asyncio.run(command)
    except Unreachable as error:
        fail(f"{error}; start one with: cellwire serve")
    except Unavailable as error:
        fail(f"lost the daemon at {target}: {error}")
    except CellwireError as error:
        fail(str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # The reader of the output has closed it. Without this, Python's flush at exit would fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(text: str) -> None:
    """Write text to stdout at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def on_one_line(text: str) -> str:
    """Return text with backslashes and non-printable characters escaped as in Python's strings."""
    return "".join(
        character.encode("unicode_escape").decode()
        if character == "\\" or not character.isprintable()
        else character
        for character in text
    )


def say(message: str) -> None:
    """Write one line to stderr; stdout is for text alone."""
    sys.stderr.write(f"cellwire: {' '.join(message.split())}\n")


def fail(message: str) -> NoReturn:
    """Write a message to stderr and exit with code 1."""
    say(message)
    raise typer.Exit(1)
