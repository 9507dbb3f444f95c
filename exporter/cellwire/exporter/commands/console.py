"""What the commands of the exporter have in common: where they speak, and how they fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.text import Text

from cellwire.exporter.errors import ExporterError

# Nothing printed is markup: a file's name may well hold brackets.
console = Console(stderr=True, highlight=False, markup=False, emoji=False, soft_wrap=True)


@contextmanager
def one_line_errors() -> Iterator[None]:
    """Turn what the user can mend into one line and exit status 2; Ctrl-C into 130."""
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
