"""The chat as a program in a terminal: keys, and what is on the screen. A thin layer of Textual."""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Callable
from typing import ClassVar

from rich.text import Text
from textual import events, on
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.widgets import Input, Static

from cellwire.client.commands.chat import files, status
from cellwire.client.commands.chat.editor import Editor
from cellwire.client.commands.chat.layout import LEVELS
from cellwire.client.commands.chat.surprise import LEVEL_BITS
from cellwire.client.commands.chat.view import STYLES, TextView
from cellwire.client.commands.chat.worker import Worker

_SCROLLING = {"up", "down", "pageup", "pagedown"}
_CSS = """
Screen { background: ansi_default; color: ansi_default; layout: vertical; }
TextView { height: 1fr; background: ansi_default; color: ansi_default; }
Horizontal { height: 1; }
#asked { width: auto; }
Static { height: auto; background: ansi_default; color: ansi_default; }
#help { height: 1fr; background: ansi_default; }
#notice { color: ansi_yellow; text-style: bold; }
#state, #keys { color: ansi_bright_black; height: 1; }
#keys { text-style: reverse; color: ansi_default; }
Input, Input:focus {
    width: 1fr; height: 1; border: none; padding: 0; background: ansi_default; color: ansi_default;
}
"""


class ChatApp(App[None]):
    """Shows an editor until the user leaves; the worker runs beside it."""

    CSS = _CSS
    ENABLE_COMMAND_PALETTE = False
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", show=False, priority=True),
        Binding("ctrl+d", "leave", show=False, priority=True),
        Binding("ctrl+q", "leave", show=False, priority=True),
    ]

    def __init__(self, editor: Editor, worker: Worker) -> None:
        # Textual takes the variable away; an empty one counts as unset, as its convention says.
        self._without_colours = bool(os.environ.get("NO_COLOR"))
        super().__init__(ansi_color=True)
        self._editor = editor
        self._worker = worker
        self._view = TextView(editor, worker, without_colours=self._without_colours)
        self._ask: Callable[[str], None] | None = None
        self._file_name = ""
        self._to_overwrite = ""
        self._goal_column: int | None = None
        self._keys = self._make_keys()

    def compose(self) -> ComposeResult:
        """Lay out the screen: the text, and the lines below it."""
        yield self._view
        with VerticalScroll(id="help", can_focus=True):
            yield Static(status.HELP, markup=False)
        for name in ("list", "labels", "notice"):
            yield Static(id=name, markup=False)
        with Horizontal(id="question"):
            yield Static(id="asked", markup=False)
            yield Input(compact=True, select_on_focus=False)
        for name in ("state", "keys"):
            yield Static(id=name, markup=False)

    def on_mount(self) -> None:
        """Begin to work and to draw."""
        self.query_one("#help").display = False
        self.query_one("#question").display = False
        self._editor.changed = self._show
        self._view.focus()
        self._show()

    def on_resize(self) -> None:
        """Fit the lines below the text to another width."""
        self.call_after_refresh(self._show)

    def on_key(self, event: events.Key) -> None:
        """Do what a key is for; other keys are typed."""
        if self._ask is not None:
            if event.key == "escape":
                self._end_question()
            return
        if self.query_one("#help").display:
            if event.key not in _SCROLLING:
                self._toggle_help()
            return
        event.stop()
        event.prevent_default()
        if event.key not in _SCROLLING:
            self._goal_column = None
        if act := self._keys.get(event.key):
            act()
        elif event.character and unicodedata.category(event.character) != "Cc":
            self._editor.type(event.character)

    def action_interrupt(self) -> None:
        """Stop the model, or a question; leave if there is neither."""
        if self._ask is not None:
            self._end_question()
        elif self._editor.generating:
            self._editor.stop()
        else:
            self.action_leave()

    def action_leave(self) -> None:
        """Leave."""
        self._editor.leave()
        self.exit()

    @on(Input.Submitted)
    def answer(self, event: Input.Submitted) -> None:
        """Do what was asked for with a file's name."""
        ask = self._ask
        self._end_question()
        if ask is not None:
            try:
                ask(event.value)
            except files.FileProblem as problem:
                self._editor.say(str(problem))

    def _make_keys(self) -> dict[str, Callable[[], None]]:
        editor = self._editor
        keys: dict[str, Callable[[], None]] = {
            "enter": self._enter,
            "escape": self._escape,
            "tab": editor.accept,
            "f1": self._toggle_help,
            "f2": editor.toggle_list,
            "ctrl+r": editor.again,
            "ctrl+z": editor.undo,
            "ctrl+y": editor.redo,
            "ctrl+s": self._ask_to_save,
            "ctrl+o": self._ask_to_load,
            "f7": lambda: editor.warmer(-1),
            "f8": lambda: editor.warmer(1),
            "up": lambda: self._vertically(-1),
            "down": lambda: self._vertically(1),
            "pageup": lambda: self._vertically(1 - self._view.size.height),
            "pagedown": lambda: self._vertically(self._view.size.height - 1),
            "left": editor.move_left,
            "right": editor.move_right,
            "ctrl+left": editor.move_word_left,
            "ctrl+right": editor.move_word_right,
            "ctrl+home": lambda: editor.move_to(0),
            "ctrl+end": lambda: editor.move_to(len(editor.buffer.text)),
            "delete": editor.erase_next_character,
            "ctrl+w": editor.erase_word,
            "ctrl+u": editor.erase_to_line_start,
            "ctrl+k": editor.erase_to_line_end,
        }
        same: dict[tuple[str, ...], Callable[[], None]] = {
            ("f3", "ctrl+t"): self._toggle_colours,
            ("ctrl+j", "shift+enter", "alt+enter"): lambda: editor.type("\n"),
            ("backspace", "ctrl+h"): editor.erase_character,
            ("home", "ctrl+a"): self._to_row_start,
            ("end", "ctrl+e"): self._to_row_end,
        }
        return keys | {key: act for names, act in same.items() for key in names}

    def _enter(self) -> None:
        if self._editor.listing and self._editor.suggestion:
            self._editor.accept()
        else:
            self._editor.go_on()

    def _escape(self) -> None:
        if self._editor.generating:
            self._editor.stop()
        elif self._editor.listing:
            self._editor.toggle_list()
        else:
            self._editor.say("")

    def _toggle_colours(self) -> None:
        if self._without_colours:
            self._editor.say("no colours: NO_COLOR is set")
        elif not self._worker.link.model.generates:
            self._editor.say("no colours: a model that only classifies has no probabilities")
        else:
            self._editor.toggle_colours()

    def _vertically(self, rows: int) -> None:
        if self._editor.listing and self._editor.completions:
            self._editor.choose(1 if rows > 0 else -1)
            return
        layout = self._view.layout_now
        if self._goal_column is None:
            self._goal_column = layout.cursor_column
        row = layout.cursor_row + rows
        if row < 0 or row >= len(layout.rows):
            ends = (layout.rows[0].cells[0].place, layout.rows[-1].cells[-1].place)
            self._editor.move_to(ends[rows > 0])
        else:
            self._editor.move_to(layout.place_at(row, self._goal_column))

    def _to_row_start(self) -> None:
        layout = self._view.layout_now
        self._editor.move_to(layout.rows[layout.cursor_row].cells[0].place)

    def _to_row_end(self) -> None:
        layout = self._view.layout_now
        self._editor.move_to(layout.rows[layout.cursor_row].cells[-1].place)

    def _toggle_help(self) -> None:
        page = self.query_one("#help")
        page.display = not page.display
        self._view.display = not page.display
        (self._view if self._view.display else page).focus()
        self._show()

    def _ask_to_save(self) -> None:
        self._question("save as ", self._file_name, self._save)

    def _ask_to_load(self) -> None:
        self._question("open ", "", self._load)

    def _question(self, question: str, answer: str, ask: Callable[[str], None]) -> None:
        self._ask = ask
        self.query_one("#asked", Static).update(question)
        self.query_one("#question").display = True
        field = self.query_one(Input)
        field.value = answer
        field.cursor_position = len(answer)
        field.focus()
        self._show()

    def _end_question(self) -> None:
        self._ask = None
        self.query_one("#question").display = False
        self._view.focus()
        self._show()

    def _save(self, name: str) -> None:
        if files.exists(name) and name not in {self._file_name, self._to_overwrite}:
            self._to_overwrite = name
            self._question("save as ", name, self._save)
            self._editor.say(f"{name} exists; Enter overwrites it, Esc keeps it")
            return
        files.save(name, self._editor.buffer.text)
        self._file_name, self._to_overwrite = name, ""
        self._editor.say(f"saved to {name}")

    def _load(self, name: str) -> None:
        self._editor.load(files.load(name))
        self._file_name = name
        self._editor.say(f"opened {name}; Ctrl-Z brings back the text before it")

    def _show(self) -> None:
        """Draw again, soon."""
        if not self.is_running:
            return
        editor, columns = self._editor, self.size.width
        self._view.refresh()
        lines = {
            "list": status.completion_rows(editor.completions, columns - 2),
            "labels": status.label_rows(editor.labels, columns),
            "notice": status.notice_rows(editor, columns),
            "keys": [status.key_row(editor, self._worker, columns)],
        }
        marked = min(editor.chosen, len(lines["list"]) - 1)
        lines["list"] = [
            f"{'▸ ' if index == marked else '  '}{row}" for index, row in enumerate(lines["list"])
        ]
        if not editor.listing or not self._view.display:
            lines["list"] = []
        self.query_one("#state", Static).update(self._state(columns))
        for name, rows in lines.items():
            field = self.query_one(f"#{name}", Static)
            field.update("\n".join(rows))
            field.display = bool(rows)

    def _state(self, columns: int) -> Text:
        """Return the state, with the legend of the colours if there is room."""
        state = Text(status.state_row(self._editor, self._worker, columns))
        legend = Text("  bits")
        for bits, look in zip((0, *LEVEL_BITS), LEVELS, strict=True):
            legend.append(" ").append(f"{bits}+", STYLES[look])
        shown = self._editor.colours and state.cell_len + legend.cell_len <= columns
        return state + legend if shown else state
