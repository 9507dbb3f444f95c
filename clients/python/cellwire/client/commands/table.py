"""The table of models."""

from __future__ import annotations

from collections.abc import Iterable

from rich.table import Table
from rich.text import Text

from cellwire.client.commands.output import on_one_line
from cellwire.client.model import Model, Training


def table_of(models: Iterable[Model]) -> Table:
    """Return a table of the models, the first marked as the default."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("model", overflow="fold")
    table.add_column("cell")
    table.add_column("size", justify="right")
    table.add_column("symbols", justify="right")
    table.add_column("bits/char", justify="right")
    table.add_column("provider")
    for index, model in enumerate(models):
        table.add_row(
            _cell(f"{model.name} (default)" if index == 0 else model.name),
            _cell(model.cell_kind),
            f"{model.layer_count} x {model.hidden_size}",
            str(model.vocabulary.size),
            _bits(model.training),
            _cell(model.provider.removesuffix("ExecutionProvider")),
        )
    return table


def _cell(text: str) -> Text:
    """Return a text as it stands; rich would read brackets in it as markup."""
    return Text(on_one_line(text))


def _bits(training: Training | None) -> str:
    """Return the bits per character, or "-" if they were not measured."""
    bits = training.validation_bits_per_character if training else 0
    return f"{bits:.3f}" if bits else "-"
