"""The rows of a labelled file: which are used, and how many are left out for which reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from cellwire.exporter.data.columns import Columns
from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.table import Row, Table
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.data import Data

_DELIMITER_NAMES = {"\t": "tabs", ";": "semicolons", "|": "pipes", ",": "commas"}
_MAX_SHOWN = 10


@dataclass(frozen=True, slots=True)
class LabelledText:
    """A text as it stands in its file, and its label."""

    text: str
    label: str


@dataclass(frozen=True, slots=True, eq=False)
class LabelledRows:
    """The texts of a file, none twice, and what a user should know about the others."""

    rows: list[LabelledText]
    notes: tuple[str, ...]

    @classmethod
    def read(cls, corpus: Corpus, data: Data, clean: Callable[[str], str]) -> LabelledRows:
        """Read the file; CorpusError names the line, or the columns that there are.

        `clean` returns a text as the vocabulary reads it: by that, two texts are the same.
        """
        table = Table.of(corpus, data)
        columns = Columns.of(table, data)
        selection = _Selection(corpus, data, clean)
        for row in _wide_enough(table, columns):
            selection.add(row, columns)
        selection.check()
        notes = [_describe_delimiter(table), columns.describe(), *selection.notes()]
        return cls(selection.rows, tuple(note for note in notes if note))


@dataclass(slots=True)
class _Selection:
    """The rows that are used so far, and the counts of the others."""

    corpus: Corpus
    data: Data
    clean: Callable[[str], str]
    rows: list[LabelledText] = field(default_factory=list)
    label_of: dict[str, str] = field(default_factory=dict)  # by the text as it is read
    left_out: Counter[str] = field(default_factory=Counter)  # by reason
    first_lines: dict[str, int] = field(default_factory=dict)  # likewise
    sources: Counter[str] = field(default_factory=Counter)

    def add(self, row: Row, columns: Columns) -> None:
        """Use a row, or count why it is not used."""
        text, label = row.cells[columns.text], row.cells[columns.label].strip()
        source = None if columns.source is None else row.cells[columns.source].strip()
        if source is not None:
            self.sources[source] += 1
        if source != self.data.source:
            self._leave_out(row, "of another source")
        elif not label:
            self._leave_out(row, "without a label")
        elif label.casefold() in {missing.casefold() for missing in self.data.missing_labels}:
            self._leave_out(row, f"with the label {label!r}, which stands for none")
        else:
            self._add_text(row, text, label)

    def _add_text(self, row: Row, text: str, label: str) -> None:
        cleaned = self.clean(text)
        if not cleaned.strip():
            self._leave_out(row, "without a text")
            return
        known = self.label_of.get(cleaned)
        if known is None:
            self.label_of[text if text == cleaned else cleaned] = label
            self.rows.append(LabelledText(text, label))
        elif known == label:
            self._leave_out(row, "repeated")
        else:
            self._leave_out(row, "repeated with another label; the first label of a text counts")

    def _leave_out(self, row: Row, reason: str) -> None:
        self.left_out[reason] += 1
        self.first_lines.setdefault(reason, row.line)

    def check(self) -> None:
        """Raise CorpusError if the file has no row of the recipe's source."""
        if self.data.source is not None and self.data.source not in self.sources:
            there = ", ".join(repr(name) for name, _ in self.sources.most_common(_MAX_SHOWN))
            raise CorpusError(
                f"{self.corpus.path}: no text of data.source = {self.data.source!r}; its sources "
                f"are: {there or 'none'}. To train on all texts, unset it with --set data.source="
            )

    def notes(self) -> Iterator[str]:
        """Yield the labels with their counts, and the counts of what is left out."""
        counts = Counter(row.label for row in self.rows)
        shown = [f"{label} ({count:,})" for label, count in counts.most_common(_MAX_SHOWN)]
        more = f", and {len(counts) - _MAX_SHOWN:,} more" if len(counts) > _MAX_SHOWN else ""
        yield f"Texts of each label: {', '.join(shown)}{more}."
        for reason, count in self.left_out.items():
            row, line = "rows" if count > 1 else "row", self.first_lines[reason]
            yield f"Left out: {count:,} {row} {reason} (first in line {line:,})."


def _wide_enough(table: Table, columns: Columns) -> Iterator[Row]:
    """Yield the rows after the head; CorpusError if one has too few or too many cells."""
    least = max(columns.text, columns.label, columns.source or 0) + 1
    for row in table.rows():
        if columns.head and row.line == columns.head.line:
            continue
        if not any(map(str.strip, row.cells)):
            continue  # an empty row, as spreadsheets write them after the last
        if len(row.cells) < least or any(map(str.strip, row.cells[columns.width :])):
            raise CorpusError(
                f"{table.corpus.path}, line {row.line:,}: {len(row.cells)} columns, and the first "
                f"row has {columns.width}; a text with "
                f"{_DELIMITER_NAMES.get(table.delimiter, repr(table.delimiter))} in it must be in "
                "quotation marks"
            )
        yield row


def _describe_delimiter(table: Table) -> str:
    if table.delimiter == ",":
        return ""
    name = _DELIMITER_NAMES.get(table.delimiter, repr(table.delimiter))
    return f"The columns are separated by {name}."
