"""A table in a file of separated values, as spreadsheets and programs write them.

The delimiter is a comma, a semicolon, a tab or a pipe, whichever cuts the first rows best. A
quotation mark within quotation marks is written twice or after a backslash; in a file with tabs,
quotation marks may also be plain characters. The whole file is tried before it is used.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.data import Data

Quoting = Literal["doubled", "backslash", "none"]

SAMPLE_ROWS = 200  # by which the delimiter is found
_DELIMITERS = "\t;|,"  # the earlier of two that cut equally well: a comma is in many texts
_MAX_FIELD_CHARS = 2**31 - 1  # what csv can have on every platform
_LINE_END = re.compile(r"(\r\n|\n|\r(?=.))", re.DOTALL)
_SEPARATOR_LINE = re.compile(r"sep=(.)\s*", re.IGNORECASE)  # of a spreadsheet, before the head
_ESCAPED = re.compile(r'\\(["\\])')


@dataclass(frozen=True, slots=True)
class Row:
    """A row of a table."""

    line: int  # in which it begins, from 1
    cells: list[str]


@dataclass(frozen=True, slots=True)
class Table:
    """A file, and how its rows are cut into cells."""

    corpus: Corpus
    data: Data
    delimiter: str
    quoting: Quoting
    first_line: int = 1  # 2 after a spreadsheet's line sep=;

    @classmethod
    def of(cls, corpus: Corpus, data: Data) -> Table:
        """Find out how a file is cut; CorpusError names the line that cannot be read."""
        first = next(_lines(corpus.blocks(data)), "")
        separator = _SEPARATOR_LINE.fullmatch(first)
        if separator:
            return cls._readable(corpus, data, separator[1], first_line=2)
        return cls._readable(corpus, data, data.delimiter_character or _best(corpus, data))

    @classmethod
    def _readable(cls, corpus: Corpus, data: Data, delimiter: str, first_line: int = 1) -> Table:
        """Return the table with the first quoting by which the whole file can be read."""
        error: CorpusError | None = None
        for quoting in _quotings(delimiter):
            table = cls(corpus, data, delimiter, quoting, first_line)
            try:
                table._try()
            except CorpusError as refusal:
                error = error or refusal
            else:
                return table
        raise error or AssertionError

    def _try(self) -> None:
        for row in self.rows():
            if self.delimiter == "\t" and any("\n" in c and "\t" in c for c in row.cells):
                raise CorpusError(
                    f"{self.corpus.path}, line {row.line:,}: a quotation mark that is not closed"
                )

    def rows(self) -> Iterator[Row]:
        """Yield the rows that are not empty lines; CorpusError as of `of`."""
        csv.field_size_limit(_MAX_FIELD_CHARS)
        lines = _lines(self.corpus.blocks(self.data))
        for _ in range(1, self.first_line):
            next(lines)
        if self.quoting == "backslash":
            lines = (_ESCAPED.sub(_doubled, line) for line in lines)
        reader = csv.reader(
            lines,
            delimiter=self.delimiter,
            quoting=csv.QUOTE_NONE if self.quoting == "none" else csv.QUOTE_MINIMAL,
            skipinitialspace=True,
            strict=True,
        )
        line = self.first_line
        try:
            for cells in reader:
                if cells:
                    yield Row(line, cells)
                line = self.first_line + reader.line_num
        except csv.Error as error:
            raise CorpusError(
                f"{self.corpus.path}, line {line:,}: {_explain(error)}; a text with quotation "
                "marks, line breaks or the delimiter must be in quotation marks, and a quotation "
                'mark in it be written twice ("") or after a backslash'
            ) from error

    def sample(self) -> list[Row]:
        """Return the first rows, up to the first that cannot be read."""
        rows = []
        with suppress(CorpusError):
            for row in self.rows():
                rows.append(row)
                if len(rows) == SAMPLE_ROWS:
                    break
        return rows


def _lines(blocks: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text with their ends, without the byte order mark of its file."""
    rest, mark = "", "\ufeff"
    for block in blocks:
        *ended, rest = _LINE_END.split(rest + block.removeprefix(mark))
        mark = ""
        yield from map("".join, zip(ended[::2], ended[1::2], strict=True))
    if rest:
        yield rest


def _doubled(escaped: re.Match[str]) -> str:
    return '""' if escaped[1] == '"' else "\\"


def _quotings(delimiter: str) -> Sequence[Quoting]:
    return ("doubled", "backslash", "none") if delimiter == "\t" else ("doubled", "backslash")


def _explain(error: csv.Error) -> str:
    if "end of data" in str(error):
        return "a quotation mark is opened here and never closed"
    return "a quotation mark ends the cell before its end"


def _best(corpus: Corpus, data: Data) -> str:
    """Return the delimiter by which most of the first rows have as many cells as the first."""
    return max(_DELIMITERS, key=lambda delimiter: _evenness(corpus, data, delimiter))


def _evenness(corpus: Corpus, data: Data, delimiter: str) -> float:
    """Return the share of rows as wide as the first; 0 if that is one cell."""
    shares = [0.0]
    for quoting in _quotings(delimiter):
        rows = Table(corpus, data, delimiter, quoting).sample()
        width = len(rows[0].cells) if rows else 0
        if width > 1:
            shares.append(sum(len(row.cells) == width for row in rows) / len(rows))
    return max(shares)
