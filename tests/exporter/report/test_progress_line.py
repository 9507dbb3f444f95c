"""A training's progress is one line of any width."""

from __future__ import annotations

import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from cellwire.exporter.report.checkpoint_line import CheckpointLine
from cellwire.exporter.report.progress_line import ProgressLine, describe_time
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.runs.progress import Progress

WIDTHS = [40, 60, 80, 120, 200]
UNITS = st.sampled_from(["character", "word", "byte", "text"])
LINES = st.builds(
    ProgressLine,
    step=st.integers(0, 10**9),
    steps=st.integers(1, 10**9),
    unit=UNITS,
    loss_bits=st.none() | st.floats(0, 1e9),
    left_s=st.none() | st.floats(0, 1e9),
)


def shown(line: ProgressLine, columns: int, encoding: str = "utf-8") -> str:
    written = io.BytesIO()
    file = io.TextIOWrapper(written, encoding=encoding, newline="")
    console = Console(file=file, width=columns, force_terminal=True, no_color=True)
    console.print(line, end="", soft_wrap=True)
    file.flush()
    return re.sub(r"\x1b\[[0-9;]*m", "", written.getvalue().decode(encoding))


@given(LINES, st.integers(40, 200))
def test_it_never_wraps(line: ProgressLine, columns: int) -> None:
    text = shown(line, columns)
    assert len(text) < columns
    assert "\n" not in text


@given(LINES, st.integers(60, 200))
def test_from_60_columns_on_it_keeps_bar_step_and_time(line: ProgressLine, columns: int) -> None:
    text = shown(line, columns)
    assert re.match(r"[█░]{4,40} ", text)
    assert re.search(rf"{line.step:,}( of |/){line.steps:,}", text)
    if line.left_s is not None:
        assert describe_time(line.left_s) in text


@pytest.mark.parametrize(
    ("columns", "figures"),
    [
        (40, " 1,230/4,570  1.834 bits  0:12:33"),
        (60, " 1,230/4,570  1.834 bits/character  0:12:33"),
        (80, " 1,230 of 4,570  1.834 bits/character  0:12:33 left"),
        (120, " step 1,230 of 4,570  1.834 bits per character  0:12:33 left"),
        (200, " step 1,230 of 4,570  1.834 bits per character  0:12:33 left"),
    ],
)
def test_it_says_more_where_there_is_room(columns: int, figures: str) -> None:
    text = shown(ProgressLine(1230, 4570, "character", 1.834, 753), columns)
    assert text.lstrip("█░") == figures


def test_before_the_first_figures_it_shows_the_bar_alone() -> None:
    assert shown(ProgressLine(0, 4570, "word"), 60).lstrip("░") == " step     0 of 4,570"


def test_numbers_that_leave_no_room_become_a_percentage() -> None:
    line = ProgressLine(10**24, 4 * 10**24, "character", 1.0, 1e9)
    assert shown(line, 40) == "25 %"


def test_without_unicode_and_colours_the_bar_is_still_a_bar() -> None:
    text = shown(ProgressLine(10, 20, "character", 1.0, 1.0), 40, "ascii")
    assert re.match(r"(#+)(\.+) 10/20", text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0:00:00"), (61.4, "0:01:01"), (86_399, "23:59:59"), (90_000, "1 d 1 h")],
)
def test_time_is_for_people(seconds: float, text: str) -> None:
    assert describe_time(seconds) == text


def checkpoint(validation: Measure | None, steps: int = 4570) -> Progress:
    best = (validation or Measure(1.0)).nats
    return Progress(250, steps, Measure(1.0), validation, best, 1.0, checkpoint=True)


@pytest.mark.parametrize("columns", WIDTHS)
@pytest.mark.parametrize("validation", [None, Measure(1.25), Measure(1.25, 0.875)])
def test_a_checkpoint_is_one_line(columns: int, validation: Measure | None) -> None:
    text = CheckpointLine(checkpoint(validation, 120_000), "character").fit(columns)
    assert len(text) <= columns
    assert "250" in text
    assert "1.443" in text
    assert validation is None or "1.803" in text


def test_a_checkpoint_says_all_where_there_is_room() -> None:
    line = CheckpointLine(checkpoint(Measure(1.25, 0.875)), "text")
    assert line.fit(200) == (
        "step   250 of 4,570  training 1.443, held out 1.803 bits per text, 87.5% right *"
    )
    assert line.fit(79) == "step   250  training 1.443, held out 1.803 bits, 87.5% right *"
    assert line.fit(10) == "  250  1.443 / 1.803"
