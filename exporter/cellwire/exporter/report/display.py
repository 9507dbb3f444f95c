"""A training on the terminal: a progress bar, a line for each checkpoint, and the samples."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from cellwire.exporter.runs.progress import Progress


class TrainingDisplay:
    """Shows progress on a console; where that is no terminal, only checkpoints and samples."""

    def __init__(self, console: Console, steps: int, unit: str) -> None:
        self._bar = Bar(
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

    def show(self, progress: Progress) -> None:
        """Show how it goes or, of a checkpoint, how it went."""
        figures = f"{progress.train.described(self._unit)}, {progress.symbols_per_s:,.0f} symbols/s"
        self._bar.update(self._task, completed=progress.step, figures=figures)
        if progress.checkpoint:
            self._console.print(self._line(progress), highlight=False)

    def tell(self, sample: str) -> None:
        """Show a text that the network wrote."""
        indented = sample.replace("\n", "\n    ")
        self._console.print(f"  it writes:\n    {indented}", highlight=False, markup=False)

    def _line(self, progress: Progress) -> str:
        line = f"step {progress.step:>6,} of {progress.steps:,}"
        line += f"  train {progress.train.described(self._unit)}"
        if progress.validation is not None:
            line += f"; validation {progress.validation.described(self._unit)}"
        counts = progress.validation or progress.train
        return line + " *" * (counts.nats == progress.best_loss)
