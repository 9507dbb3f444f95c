"""The lines below the text: notices, labels, completions, the state, the keys."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rich.cells import cell_len, chop_cells, set_cell_size

from cellwire.client.commands.chat.editor import Editor
from cellwire.client.commands.chat.graphemes import graphemes, shown
from cellwire.client.commands.chat.worker import Worker
from cellwire.client.values import Completion, LabelScore

_GAP = "  "
_MAX_NOTICE_ROWS = 3
_MAX_LABEL_ROWS = 3
_BAR_COLUMNS = 10
_LEAST_PERCENT = 0.1

HELP = """\
Enter            the model continues
Esc              stop it
Tab              take the suggestion
F2               others: ↑ ↓, Tab
Ctrl-R           again, another seed
Ctrl-Z, Ctrl-Y   undo, redo
Ctrl-J           new line
F7, F8           temperature -, +
F3, Ctrl-T       colours by surprise
Ctrl-S, Ctrl-O   save, open a file
←→↑↓ Home End    move; Ctrl: by words
PgUp, PgDn       move by screens
Ctrl-W           erase a word
Ctrl-U, Ctrl-K   erase line to its ends
Ctrl-C           stop; leave at rest
Ctrl-D, Ctrl-Q   leave

The model reads what is before the
cursor. Leaving prints the text."""


def printable(text: str) -> str:
    """Return a text on one line, with a visible sign for whatever has none."""
    signs = ("↵" if one == "\n" else shown(one)[0] for one in graphemes(text))
    return "".join(signs)


def notice_rows(editor: Editor, columns: int) -> list[str]:
    """Return the notice, in a few rows."""
    rows = [""]
    for word in printable(editor.notice).split(" "):
        longer = f"{rows[-1]} {word}" if rows[-1] else word
        if cell_len(longer) > columns:
            rows += chop_cells(word, columns)
        else:
            rows[-1] = longer
    rows = [row for row in rows if row]
    if len(rows) > _MAX_NOTICE_ROWS:
        last = set_cell_size(rows[_MAX_NOTICE_ROWS - 1], max(columns - 4, 0)).rstrip()
        rows[_MAX_NOTICE_ROWS - 1 :] = [f"{last} ..."]
    return rows


def label_rows(labels: Sequence[LabelScore], columns: int) -> list[str]:
    """Return the labels, the greatest score first: with a bar each, as far as there is room."""
    ranked = sorted(labels, key=lambda label: -label.score)
    name_columns = min(max((cell_len(label.label) for label in labels), default=0), columns // 2)
    rows = [_label_row(label, name_columns) for label in ranked]
    if len(rows) > _MAX_LABEL_ROWS:
        rest = len(rows) - _MAX_LABEL_ROWS + 1
        rows[_MAX_LABEL_ROWS - 1 :] = [f"and {rest} more"]
    return [set_cell_size(row, columns).rstrip() for row in rows]


def completion_rows(completions: Sequence[Completion], columns: int) -> list[str]:
    """Return the completions with their probabilities, each in a row."""
    probabilities = [_percent(completion.log_probability) for completion in completions]
    widest = max(map(len, probabilities), default=0)
    texts = [printable(one.text).replace(" ", "·") for one in completions]
    room = max(min(columns - widest - 2, max(map(cell_len, texts), default=0)), 1)
    return [
        f"{set_cell_size(text, room)}  {probability:>{widest}}"
        for text, probability in zip(texts, probabilities, strict=True)
    ]


def state_row(editor: Editor, worker: Worker, columns: int) -> str:
    """Return the row with the model, the offset and the speed, in words if there is room."""
    link = worker.link
    offset = f"{link.mirror.offset:,}" if link.is_open else "-"
    speed = f"{worker.tokens_per_s:,.0f}" if worker.tokens_per_s else ""
    temperature = f"{editor.temperature:g}"
    name = printable(link.model.name)
    long = [name, f"offset {offset}", f"temperature {temperature}"]
    short = [name, f"@{offset}", f"T {temperature}"]
    if not link.model.generates:
        del long[2], short[2]
    if speed:
        long.insert(2, f"{speed} tokens/s")
        short.insert(2, f"{speed}/s")
    row = _GAP.join(long)
    return row if cell_len(row) <= columns else set_cell_size(_GAP.join(short), columns).rstrip()


def key_row(editor: Editor, worker: Worker, columns: int) -> str:
    """Return the row of keys that do something now, the way out first."""
    row = ""
    for key in _keys(editor, generates=worker.link.model.generates):
        longer = f"{row}{_GAP}{key}" if row else key
        if cell_len(longer) > columns:
            break
        row = longer
    return row


def _keys(editor: Editor, *, generates: bool) -> list[str]:
    if editor.generating:
        return ["^C stop", "Esc stop", "^D leave"]
    leave, more = "^C leave", "F1 keys"
    if not generates:
        return [leave, more, "^S save", "^O open", "^Z undo"]
    if editor.listing and editor.completions:
        return [leave, "↑↓ choose", "Tab take", "Esc back"]
    keys = [leave, more, "Enter continue"]
    if editor.suggestion:
        keys += ["Tab take", "F2 others"]
    return [*keys, "^R again", "^Z undo", "^S save", "^O open", "F3 colours"]


def _label_row(label: LabelScore, name_columns: int) -> str:
    name = set_cell_size(printable(label.label), name_columns)
    filled = round(label.score * _BAR_COLUMNS) if 0 <= label.score <= 1 else 0
    return f"{name} {label.score:7.4f} {'█' * filled}"


def _percent(log_probability: float) -> str:
    probability = 100 * math.exp(log_probability)
    return "<0.1 %" if probability < _LEAST_PERCENT else f"{probability:.1f} %"
