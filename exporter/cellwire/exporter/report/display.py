"""A training on the terminal: a progress bar, a line for each checkpoint, and the samples."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as ProgressBar

from cellwire.exporter.runs.progress import Progress


class TrainingDisplay:
    """Shows a training on a console; without a terminal, only its checkpoints and samples."""

    def __init__(self, console: Console, steps: int, unit: str) -> None:
        self._bar = ProgressBar(
            TextColumn("training"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[figures]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._console = console
        self._unit = unit
        self._task = self._bar.add_task("training", total=steps, figures="")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._bar.stop()

    def show_progress(self, progress: Progress) -> None:
        """Update the bar; print a line if the progress is of a checkpoint."""
        figures = f"{progress.train.describe(self._unit)}, {progress.tokens_per_s:,.0f} tokens/s"
        self._bar.update(self._task, completed=progress.step, figures=figures)
        if progress.checkpoint:
            self._console.print(self._line(progress), highlight=False)

    def show_sample(self, text: str) -> None:
        """Print a text that the network generated."""
        indented = text.replace("\n", "\n    ")
        self._console.print(f"  sample:\n    {indented}", highlight=False, markup=False)

    def _line(self, progress: Progress) -> str:
        """Return a checkpoint's line, with a star if it is the best so far."""
        line = f"step {progress.step:>6,} of {progress.steps:,}"
        line += f"  train {progress.train.describe(self._unit)}"
        if progress.validation is not None:
            line += f"; validation {progress.validation.describe(self._unit)}"
        measure = progress.validation or progress.train
        return line + " *" * (measure.nats == progress.best_loss)
