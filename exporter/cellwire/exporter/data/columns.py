"""The columns of labelled texts: by the recipe, by their names, or by what is in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cellwire.exporter.data.table import Row, Table
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.data import Data

# Names as people give them, the likeliest first; without case, blanks, hyphens and underscores.
_TEXTS = (
    *("text", "texts", "review", "reviews", "reviewtext", "sentence", "tweet", "comment"),
    *("content", "message", "body", "document", "utterance", "question", "phrase", "post"),
    *("description", "summary", "headline", "verifiedreviews", "title", "v2"),
)
_LABELS = (
    *("label", "labels", "sentiment", "class", "category", "target", "polarity", "rating"),
    *("stars", "score", "emotion", "intent", "topic", "tag", "feeling", "spam", "y", "v1"),
)
_SOURCE = "source"
_PAIR = 2
_MAX_LABEL_SHARE = 0.2  # of the rows of a file without names: so many labels, or two
_MAX_SHOWN = 10

Setting = str | int | None


@dataclass(frozen=True, slots=True)
class Columns:
    """Where the texts and labels are, from 0."""

    text: int
    label: int
    source: int | None
    width: int  # cells of the first row
    head: Row | None  # the row that names the columns

    @classmethod
    def of(cls, table: Table, data: Data) -> Columns:
        """Find the columns; CorpusError names those that there are."""
        rows = table.sample()
        if not rows:
            raise CorpusError(f"{table.corpus.path}: no row; give a CSV file of labelled texts")
        return _Finder(table, data, rows).columns()

    def describe(self) -> str:
        """Return which columns were taken, for people; empty if they are text and label."""
        if self.head is None:
            return (
                f"The file has no head: column {self.text + 1} is read as the text, column "
                f"{self.label + 1} as the label."
            )
        names = [self.head.cells[index].strip() for index in (self.text, self.label)]
        if names == ["text", "label"]:
            return ""
        return f"The text is column {names[0]!r}, the label column {names[1]!r}."


@dataclass(frozen=True, slots=True)
class _Finder:
    table: Table
    data: Data
    rows: list[Row]

    def columns(self) -> Columns:
        names = self.rows[0].cells
        named = _by_name(names, self.data)
        has_head = self._has_head(named) if self.data.head is None else self.data.head
        found = named if has_head else self._by_content()
        if found is None:
            raise self._refusal(has_head=has_head)
        text, label = found
        if text == label:
            raise CorpusError(
                f"{self.table.corpus.path}: column {text + 1} is both text and label; {_ADVICE}"
            )
        source = self._source(names) if self.data.source is not None else None
        return Columns(text, label, source, len(names), self.rows[0] if has_head else None)

    def _has_head(self, named: tuple[int, int] | None) -> bool:
        """Whether the first row names the columns: a label that comes again is no name."""
        if any(isinstance(s, str) for s in (self.data.text_column, self.data.label_column)):
            return True
        return named is not None and not self._repeats(named[1])

    def _by_content(self) -> tuple[int, int] | None:
        """Return the columns of a file without a head: by number, or as few labels come often."""
        width = len(self.rows[0].cells)
        text = _numbered(self.data.text_column, width)
        label = _numbered(self.data.label_column, width)
        if text is None and label is None and width == _PAIR:
            likely = [column for column in range(width) if self._holds_labels(column)]
            label = likely[0] if len(likely) == 1 else None
        return _complete(text, label, width)

    def _holds_labels(self, column: int) -> bool:
        values = self._values(column)
        most = max(_PAIR, int(_MAX_LABEL_SHARE * len(values)))
        return len(set(values)) <= most and self._repeats(column)

    def _repeats(self, column: int) -> bool:
        first, *others = self._values(column)
        return first in others

    def _values(self, column: int) -> list[str]:
        return [row.cells[column].strip() for row in self.rows if column < len(row.cells)]

    def _source(self, names: Sequence[str]) -> int:
        index = _named(_SOURCE, names)
        if index is None:
            raise CorpusError(
                f"{self.table.corpus.path}: no column {_SOURCE!r}, by which data.source = "
                f'"{self.data.source}" chooses; {_listed(names)}. To train on all texts, unset it '
                "with --set data.source="
            )
        return index

    def _refusal(self, *, has_head: bool) -> CorpusError:
        names = self.rows[0].cells
        missing = [
            f"{role} ({setting!r})" if setting else role
            for role, setting, common in (
                ("text", self.data.text_column, _TEXTS),
                ("label", self.data.label_column, _LABELS),
            )
            if _choose(setting, names, common) is None
        ]
        there = _listed(names) if has_head else f"the first row is {_shown(names)}"
        return CorpusError(
            f"{self.table.corpus.path}: no column for {' and '.join(missing) or 'text'}; "
            f"{there}. {_ADVICE}"
        )


_ADVICE = (
    "Name the columns, or give their numbers from 1, with --set data.text_column=... --set "
    "data.label_column=...; say --set data.head=false if the first row is none, and --set "
    "data.delimiter=tab (or comma, semicolon, pipe) if it is cut wrongly"
)


def _by_name(names: Sequence[str], data: Data) -> tuple[int, int] | None:
    """Return the columns that a head names, or None."""
    text = _choose(data.text_column, names, _TEXTS)
    label = _choose(data.label_column, names, _LABELS)
    unset = data.text_column is None or data.label_column is None
    return _complete(text, label, len(names) if unset else 0)


def _complete(text: int | None, label: int | None, width: int) -> tuple[int, int] | None:
    """Return both columns, or None; of two columns, one is enough."""
    if width == _PAIR:
        text = 1 - label if text is None and label is not None else text
        label = 1 - text if label is None and text is not None else label
    return None if text is None or label is None else (text, label)


def _choose(setting: Setting, names: Sequence[str], common: Sequence[str]) -> int | None:
    """Return the column that a setting names or, without one, the one of the likeliest name."""
    if isinstance(setting, int):
        return _numbered(setting, len(names))
    if setting is not None:
        return _named(setting, names)
    found = (_named(name, names) for name in common)
    return next((index for index in found if index is not None), None)


def _numbered(setting: Setting, width: int) -> int | None:
    return setting - 1 if isinstance(setting, int) and setting <= width else None


def _named(name: str, names: Sequence[str]) -> int | None:
    """Return the column of a name: as it is written or, if there is none, as it is meant."""
    if name in names:
        return names.index(name)
    plain = [_plain(other) for other in names]
    return plain.index(_plain(name)) if _plain(name) in plain else None


def _plain(name: str) -> str:
    return "".join(c for c in name.casefold() if c not in " -_\t\ufeff")


def _listed(names: Sequence[str]) -> str:
    return f"its columns are {_shown(names)}"


def _shown(names: Sequence[str]) -> str:
    more = ", ..." if len(names) > _MAX_SHOWN else ""
    return ", ".join(repr(name[:40].strip()) for name in names[:_MAX_SHOWN]) + more
