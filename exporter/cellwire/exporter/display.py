"""A training on the terminal: a progress bar, and a line for each validation."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

from cellwire.exporter.run import Progress


class TrainingDisplay:
    """Shows progress on a console; where the console is no terminal, only the validations."""

    def __init__(self, console: Console, steps: int) -> None:
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
        """Show a step or, where it has one, a validation."""
        figures = f"{progress.train_bpc:.3f} bits/char, {progress.chars_per_s:,.0f} chars/s"
        if progress.best_bpc is not None:
            figures += f", best {progress.best_bpc:.4f}"
        self._bar.update(self._task, completed=progress.step, figures=figures)
        if progress.validation_bpc is not None:
            star = " *" if progress.validation_bpc == progress.best_bpc else ""
            self._console.print(
                f"step {progress.step:>6,} of {progress.steps:,}  "
                f"train {progress.train_bpc:.4f}  "
                f"validation {progress.validation_bpc:.4f} bits per character{star}",
                highlight=False,
            )
