"""How a command of this client ends: quietly, or with one line on stderr."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Coroutine
from typing import NoReturn

import typer

from cellwire.client.errors import CellwireError, Unavailable, Unreachable

INTERRUPTED = 130
"""The exit code of what Ctrl-C ended, as shells count: 128 + SIGINT."""


def run(command: Coroutine[None, None, None], target: str) -> None:
    """Run a command that speaks to the daemon at target; ends it with the right exit code."""
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
        # Whoever read our output has enough. Python would complain when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def show(text: str) -> None:
    """Put text on stdout at once."""
    sys.stdout.write(text)
    sys.stdout.flush()


def on_one_line(text: str) -> str:
    """Return text with its backslashes, and what is not printable, as in Python's strings."""
    return "".join(
        symbol.encode("unicode_escape").decode()
        if symbol == "\\" or not symbol.isprintable()
        else symbol
        for symbol in text
    )


def say(message: str) -> None:
    """Show one line on stderr; stdout is for text alone."""
    sys.stderr.write(f"cellwire: {' '.join(message.split())}\n")


def fail(message: str) -> NoReturn:
    """Say what is wrong and exit with code 1."""
    say(message)
    raise typer.Exit(1)
