"""The console of the exporter's commands, and their errors and exit statuses."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import NoReturn

import typer
from rich.console import Console
from rich.text import Text

from cellwire.exporter.errors import ExporterError
from cellwire.exporter.report.printable import printable_line

# Without markup, since the names of files may hold brackets.
console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)
stdout_console = Console(markup=False, emoji=False)

# How torch says that memory ended: it raises plain RuntimeErrors.
_NO_MEMORY = (
    "out of memory",
    "not enough memory",
    "can't allocate memory",
    "calculation overflowed",
    "multiplication overflow",
)
_MEMORY_ADVICE = (
    "train with a lower --hidden, fewer batches.lanes, a shorter batches.window, or the beginning "
    "of the text (data.first_characters)"
)


def print_prose(text: str) -> None:
    """Print sentences; a terminal gets them wrapped between words."""
    console.print(printable_line(text), soft_wrap=not console.is_terminal)


def print_result(line: str) -> None:
    """Print a line to stdout, whatever characters it has and stdout can encode."""
    encoding = sys.stdout.encoding or "utf-8"
    typer.echo(printable_line(line).encode(encoding, "backslashreplace").decode(encoding))


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print what the caller can mend as one line and exit with 2; exit with 130 on Ctrl-C."""
    try:
        yield
    except ExporterError as error:
        _refuse(str(error), error)
    except ModuleNotFoundError as error:
        _refuse(f"{error.name} is missing; pip install 'cellwire[train]'", error)
    except MemoryError as error:
        _refuse(_no_memory(error), error)
    except RuntimeError as error:
        if not any(words in str(error) for words in _NO_MEMORY):
            raise
        _refuse(_no_memory(error), error)
    except OSError as error:
        if error.errno == errno.EPIPE:  # a reader such as `head` that has enough, no error
            raise
        _refuse(_describe(error), error)
    except KeyboardInterrupt as error:
        console.print("cellwire: stopped")
        raise typer.Exit(130) from error


def _refuse(message: str, error: BaseException) -> NoReturn:
    with suppress(OSError):  # a terminal that is gone
        console.print(Text.assemble(("cellwire:", "red"), f" {printable_line(message)}"))
    raise typer.Exit(2) from error


def _no_memory(error: BaseException) -> str:
    reason = str(error).partition("\n")[0]
    return f"there is not enough memory{f' ({reason})' * bool(reason)}; {_MEMORY_ADVICE}"


def _describe(error: OSError) -> str:
    reason = error.strerror or str(error) or type(error).__name__
    return reason if error.filename is None else f"{error.filename}: {reason}"
