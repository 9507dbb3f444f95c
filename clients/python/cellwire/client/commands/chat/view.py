"""The text in the terminal, as a Textual widget."""

from __future__ import annotations

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.geometry import Offset
from textual.strip import Strip
from textual.widget import Widget

from cellwire.client.commands.chat.editor import Editor
from cellwire.client.commands.chat.files import with_line_feeds
from cellwire.client.commands.chat.layout import Cell, Layout, Look, Writing, lay_out
from cellwire.client.commands.chat.worker import Worker

STYLES = {
    Look.PLAIN: Style(),
    Look.SUGGESTED: Style(color="bright_black", italic=True),
    Look.UNKNOWN: Style(color="red", underline=True),
    Look.SIGN: Style(reverse=True),
    Look.LEVEL_0: Style(color="green"),
    Look.LEVEL_1: Style(),
    Look.LEVEL_2: Style(color="yellow"),
    Look.LEVEL_3: Style(color="magenta"),
    Look.LEVEL_4: Style(color="red", bold=True),
}
_CURSOR = Style(reverse=True)


class TextView(Widget, can_focus=True):
    """Draws the text around the cursor, word by word in rows."""

    def __init__(self, editor: Editor, worker: Worker, *, without_colours: bool) -> None:
        super().__init__()
        self._editor = editor
        self._worker = worker
        self._without_colours = without_colours
        self._laid_out: tuple[object, Layout] | None = None

    @property
    def layout_now(self) -> Layout:
        """The rows of the text as it is now."""
        editor = self._editor
        key = (editor.buffer.text, editor.buffer.cursor, self._suggestion, editor.colours)
        key_now = (*key, self._worker.known, self.size)
        # While surprise is shown, it may come in without another change.
        if self._laid_out is None or self._laid_out[0] != key_now or editor.colours:
            self._laid_out = (key_now, self._lay_out())
        return self._laid_out[1]

    def on_paste(self, event: events.Paste) -> None:
        """Add what is pasted, as one step."""
        event.stop()
        self._editor.type(with_line_feeds(event.text))

    def render_line(self, y: int) -> Strip:
        """Draw a row."""
        layout = self.layout_now
        first, after = layout.shown_rows(self.size.height)
        row = first + y
        if row >= after:
            return Strip.blank(self.size.width)
        cursor = layout.cursor_cell if row == layout.cursor_row else None
        if cursor is not None:
            column = min(layout.cursor_column, self.size.width - 1)
            self.app.cursor_position = self.region.offset + Offset(column, y)
        return self._strip(layout.rows[row].cells, cursor)

    def _strip(self, cells: tuple[Cell, ...], cursor: int | None) -> Strip:
        segments: list[Segment] = []
        used = 0
        for index, cell in enumerate(cells):
            if used + cell.width > self.size.width and index != cursor:
                continue
            while used + cell.width > self.size.width and segments:
                used -= segments.pop().cell_length  # the cursor is on a space beyond the edge
            style = STYLES[cell.look]
            segments.append(Segment(cell.sign, style + _CURSOR if index == cursor else style))
            used += cell.width
        return Strip(segments).adjust_cell_length(self.size.width)

    @property
    def _suggestion(self) -> str:
        suggestion = self._editor.suggestion
        # Without colours, brackets tell it from the text.
        return f"[{suggestion}]" if suggestion and self._without_colours else suggestion

    def _lay_out(self) -> Layout:
        editor = self._editor
        levels = editor.surprise.levels(editor.buffer.text) if editor.colours else ()
        writing = Writing(editor.buffer.text, editor.buffer.cursor, self._suggestion, levels)
        return lay_out(writing, self._worker.known, self.size.width, self.size.height)
