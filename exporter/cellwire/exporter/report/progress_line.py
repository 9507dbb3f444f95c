"""A training's progress in one line: bar, step, loss and time left, as far as they fit."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.segment import Segment
from rich.style import Style

_DONE, _LEFT = Style(color="green"), Style(dim=True)
_BAR, _ASCII_BAR = ("█", "░"), ("#", ".")
_BAR_COLUMNS = 40  # at most
_SPARE_COLUMNS = 3  # where a terminal writes ^C, and so that a full last column wraps nowhere
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


@dataclass(frozen=True, slots=True)
class ProgressLine:
    """Renders as one line of any width, without a line end."""

    step: int
    steps: int
    unit: str
    loss_bits: float | None = None  # None: nothing has been measured
    left_s: float | None = None  # None: not known yet

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        columns = options.max_width - _SPARE_COLUMNS
        bar_columns, figures = self.fit(columns)
        done, left = _ASCII_BAR if options.ascii_only else _BAR
        filled = bar_columns * min(self.step, self.steps) // max(1, self.steps)
        yield Segment(done * filled, _DONE)
        yield Segment(left * (bar_columns - filled), _LEFT)
        yield Segment(figures)

    def fit(self, columns: int) -> tuple[int, str]:
        """Return the columns of the bar, and the figures, which are at most `columns` together."""
        for bar_columns, figures in self._variants():
            if bar_columns + len(figures) <= columns:
                return min(_BAR_COLUMNS, columns - len(figures)), figures
        return 0, f"{100 * self.step // max(1, self.steps)} %"[: max(0, columns)]

    def _variants(self) -> Sequence[tuple[int, str]]:
        """Return the fewest columns of the bar, and the figures, the widest first."""
        step, steps = f"{self.step:,}", f"{self.steps:,}"
        step = step.rjust(len(steps))
        left = "" if self.left_s is None else describe_time(self.left_s)
        loss = "" if self.loss_bits is None else f"{self.loss_bits:.3f} bits"
        per_unit = loss and f"{loss} per {self.unit}"
        slash_unit = loss and f"{loss}/{self.unit}"
        words_left = left and f"{left} left"
        return (
            (20, _join(f" step {step} of {steps}", per_unit, words_left)),
            (10, _join(f" {step} of {steps}", slash_unit, words_left)),
            (8, _join(f" {step}/{steps}", slash_unit, left)),
            (4, _join(f" {step}/{steps}", loss, left)),
            (5, _join(f" {step}/{steps}", left)),
        )


def _join(*parts: str) -> str:
    return "  ".join(part for part in parts if part)


def describe_time(seconds: float) -> str:
    """Return a duration as h:mm:ss or, from a day on, as days and hours."""
    whole = max(0, round(min(seconds, 1e9)))
    if whole >= _DAY_S:
        return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S} h"
    return f"{whole // _HOUR_S}:{whole % _HOUR_S // _MINUTE_S:02}:{whole % _MINUTE_S:02}"
