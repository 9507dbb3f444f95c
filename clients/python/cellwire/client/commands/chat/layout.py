"""A text in rows of a terminal: word wrap, and where the cursor is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum

from cellwire.client.commands.chat.graphemes import graphemes, is_boundary, shown, width
from cellwire.client.commands.chat.known import Known


class Look(Enum):
    """How a character is drawn."""

    PLAIN = "plain"
    SUGGESTED = "suggested"
    UNKNOWN = "unknown"
    """The model does not read it."""
    SIGN = "sign"
    """A sign for a control character, or for one that is invisible."""
    LEVEL_0 = "level-0"
    LEVEL_1 = "level-1"
    LEVEL_2 = "level-2"
    LEVEL_3 = "level-3"
    LEVEL_4 = "level-4"


_BREAKS_AFTER = {"-", "\N{EN DASH}", "\N{EM DASH}", "/"}
LEVELS = (Look.LEVEL_0, Look.LEVEL_1, Look.LEVEL_2, Look.LEVEL_3, Look.LEVEL_4)


@dataclass(frozen=True, slots=True)
class Cell:
    """A character as it is drawn."""

    sign: str
    width: int
    """In columns."""
    look: Look
    place: int
    """Its place in the text; a suggestion's is the cursor's."""
    is_space: bool = False
    is_line_feed: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """A row of cells; its last may be a line feed or hang over the edge, if it is a space."""

    cells: tuple[Cell, ...]

    def column_of(self, cell_index: int) -> int:
        """Return the column where a cell begins."""
        return sum(cell.width for cell in self.cells[:cell_index])


@dataclass(frozen=True, slots=True)
class Layout:
    """The rows around the cursor, which is on a cell: the last one is the end of the text."""

    rows: tuple[Row, ...]
    cursor_row: int
    cursor_cell: int

    @property
    def cursor_column(self) -> int:
        """The column of the cursor in its row."""
        return self.rows[self.cursor_row].column_of(self.cursor_cell)

    def place_at(self, row: int, column: int) -> int:
        """Return the place of the character at a row and column, or the nearest in the row."""
        cells = self.rows[max(0, min(row, len(self.rows) - 1))].cells
        end = 0
        for cell in cells:
            end += cell.width
            if column < end:
                return cell.place
        return cells[-1].place

    def shown_rows(self, height: int) -> tuple[int, int]:
        """Return the first row to show, and the one after the last."""
        first = max(0, min(self.cursor_row - height // 2, len(self.rows) - height))
        return first, min(first + height, len(self.rows))


@dataclass(frozen=True, slots=True)
class Writing:
    """What is laid out: a text with a suggestion at its cursor."""

    text: str
    cursor: int
    suggestion: str = ""
    levels: Sequence[int] = ()
    """The level of surprise of each code point, from the start on; empty if it is not shown."""


def lay_out(writing: Writing, known: Known, columns: int, rows: int) -> Layout:
    """Lay out as much of a text as a screen of some rows and columns can show around the cursor."""
    area = max(columns * rows, 1)
    start = _stable_start(writing.text, writing.cursor - 2 * area, area)
    stop = min(len(writing.text), writing.cursor + area)
    cells = [*_cells(writing, known, start, stop), Cell(" ", 1, Look.PLAIN, stop, is_space=True)]
    laid = tuple(Row(tuple(row)) for row in _wrapped(cells, max(columns, 1)))
    row, cell = _cursor_in(laid, writing.cursor)
    return Layout(laid, row, cell)


def _stable_start(text: str, earliest: int, step: int) -> int:
    """Return a place to lay out from, which seldom changes while the cursor moves on."""
    if earliest <= 0:
        return 0
    start = earliest // step * step
    line = text.find("\n", start, start + step)
    if line >= 0:
        return line + 1
    while start and not is_boundary(text, start):
        start -= 1
    return start


def _cells(writing: Writing, known: Known, start: int, stop: int) -> Iterator[Cell]:
    place = start
    for grapheme in graphemes(writing.text[start : writing.cursor]):
        yield _cell(grapheme, place, _look(grapheme, place, writing, known))
        place += len(grapheme)
    for grapheme in graphemes(writing.suggestion):
        sign = "↵" if grapheme == "\n" else shown(grapheme)[0]
        yield Cell(sign, width(grapheme), Look.SUGGESTED, place, grapheme.isspace())
    for grapheme in graphemes(writing.text[writing.cursor : stop]):
        yield _cell(grapheme, place, _look(grapheme, place, writing, known))
        place += len(grapheme)


def _cell(grapheme: str, place: int, look: Look) -> Cell:
    if grapheme in {"\n", "\r\n"}:
        return Cell(" ", 1, look, place, is_space=True, is_line_feed=True)
    return Cell(shown(grapheme)[0], width(grapheme), look, place, grapheme.isspace())


def _look(grapheme: str, place: int, writing: Writing, known: Known) -> Look:
    if not known.knows(grapheme):
        return Look.UNKNOWN
    if grapheme != "\n" and shown(grapheme)[1]:
        return Look.SIGN
    return LEVELS[writing.levels[place]] if place < len(writing.levels) else Look.PLAIN


def _wrapped(cells: Sequence[Cell], columns: int) -> Iterator[Sequence[Cell]]:
    """Yield rows, broken after white space, after hyphens and between wide characters."""
    start = break_after = used = 0
    for index, cell in enumerate(cells):
        if used + cell.width > columns and not cell.is_space and index > start:
            cut = break_after if break_after > start else index
            yield cells[start:cut]
            start = cut
            used = sum(one.width for one in cells[start:index])
        used += cell.width
        if cell.is_line_feed:
            yield cells[start : index + 1]
            start, used = index + 1, 0
        if cell.is_space or cell.sign in _BREAKS_AFTER or cell.width > 1:
            break_after = index + 1
    yield cells[start:]


def _cursor_in(rows: Sequence[Row], cursor: int) -> tuple[int, int]:
    """Return the first cell at the cursor's place, or at the next one."""
    for number, row in enumerate(rows):
        for index, cell in enumerate(row.cells):
            if cell.place >= cursor:
                return number, index
    return len(rows) - 1, len(rows[-1].cells) - 1
