"""The display of a training, on terminals of all widths and without one."""

from __future__ import annotations

import io
import re

import pytest
from rich.console import Console

from cellwire.exporter.report.display import TrainingDisplay
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.runs.progress import Progress

WIDTHS = [40, 60, 80, 120, 200]


def progress(step: int, *, checkpoint: bool = False) -> Progress:
    validation = Measure(1.3) if checkpoint else None
    return Progress(step, 120_000, Measure(1.2), validation, 1.3, 30_000.0, checkpoint=checkpoint)


def show(console: Console) -> str:
    now_s = iter(range(0, 1000, 10))
    with TrainingDisplay(console, 100, 120_000, "character", lambda: next(now_s)) as display:
        display.show_progress(progress(200))
        display.show_progress(progress(300, checkpoint=True))
        display.show_sample("Emma\x1b[2J said:\nyes")
        display.show_progress(progress(119_000))
    file = console.file
    assert isinstance(file, io.StringIO)
    return file.getvalue()


def lines_of(output: str) -> list[str]:
    """What a terminal was given between carriage returns and line ends, without escapes."""
    return re.split(r"[\r\n]+", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output))


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("no_color", [False, True])
def test_no_line_is_wider_than_the_terminal(columns: int, no_color: bool) -> None:  # noqa: FBT001
    console = Console(
        file=io.StringIO(), force_terminal=True, width=columns, no_color=no_color, soft_wrap=True
    )
    lines = lines_of(show(console))
    assert max(map(len, lines)) <= columns
    assert any(re.match(r"[█░]+ +\D*300", line) for line in lines)
    assert any("200" in line and "3:19:40" in line for line in lines)


def test_without_colours_there_are_none() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=80, no_color=True)
    assert "\x1b[32m" not in show(console)


def test_without_a_terminal_there_are_checkpoints_and_samples_only() -> None:
    console = Console(file=io.StringIO(), width=80, markup=False)
    assert show(console) == (
        "step     300 of 120,000  training 1.731, held out 1.876 bits per character *\n"
        "  sample:\n    Emma\\x1b[2J said:\n    yes\n"
    )


def test_the_cursor_stays_visible() -> None:
    output = show(Console(file=io.StringIO(), force_terminal=True, width=80))
    assert output.index("\x1b[?25l") < output.index("\x1b[?25h") < output.index("Emma")
