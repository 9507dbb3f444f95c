"""A training on the terminal: a line of progress, a line for each checkpoint, and the samples."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live

from cellwire.exporter.report.checkpoint_line import CheckpointLine
from cellwire.exporter.report.printable import printable_lines
from cellwire.exporter.report.progress_line import ProgressLine
from cellwire.exporter.runs.progress import Progress


class TrainingDisplay:
    """Shows a training on a console; without a terminal, only its checkpoints and samples."""

    def __init__(
        self,
        console: Console,
        first_step: int,
        steps: int,
        unit: str,
        clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._console = console
        self._unit = unit
        self._first_step = first_step
        self._clock_s = clock_s
        self._started_s = clock_s()
        self._live: Live | None = None
        if console.is_interactive:
            line = ProgressLine(first_step, steps, unit)
            self._live = Live(line, console=console, auto_refresh=False)

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
            self._console.show_cursor()  # Live hides it, and a killed process leaves it hidden
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def show_progress(self, progress: Progress) -> None:
        """Update the line of progress; print another if the progress is of a checkpoint."""
        if self._live is not None:
            self._live.update(self._line(progress), refresh=True)
        if progress.checkpoint:
            self._console.print(CheckpointLine(progress, self._unit))

    def show_sample(self, text: str) -> None:
        """Print a text that the network generated."""
        indented = printable_lines(text).replace("\n", "\n    ")
        self._console.print(f"  sample:\n    {indented}", highlight=False, markup=False)

    def _line(self, progress: Progress) -> ProgressLine:
        """Return the line of progress; steps since the start of the display give the time left."""
        taken = progress.step - self._first_step
        left_s = None
        if taken > 0:
            step_s = (self._clock_s() - self._started_s) / taken
            left_s = step_s * (progress.steps - progress.step)
        bits = progress.train.bits
        return ProgressLine(progress.step, progress.steps, self._unit, bits, left_s)
