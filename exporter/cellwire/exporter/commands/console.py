"""The console of the exporter's commands, and their errors and exit statuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.text import Text

from cellwire.exporter.errors import ExporterError

# Without markup, since the names of files may hold brackets.
console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Print the exporter's errors as one line and exit with 2; exit with 130 on Ctrl-C."""
    try:
        yield
    except ExporterError as error:
        console.print(Text.assemble(("cellwire:", "red"), f" {error}"))
        raise typer.Exit(2) from error
    except ModuleNotFoundError as error:
        console.print(f"cellwire: {error.name} is missing; pip install 'cellwire[train]'")
        raise typer.Exit(2) from error
    except KeyboardInterrupt as error:
        console.print("cellwire: stopped")
        raise typer.Exit(130) from error
