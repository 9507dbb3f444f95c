"""A checkpoint in one line: step, losses and, of a classifier, the labels that were right."""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from cellwire.exporter.runs.progress import Progress


@dataclass(frozen=True, slots=True)
class CheckpointLine:
    """Renders as one line, with a star if the checkpoint is the best so far."""

    progress: Progress
    unit: str

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> RenderResult:
        yield Text(self.fit(options.max_width), no_wrap=True)

    def fit(self, columns: int) -> str:
        """Return the widest text of at most `columns`, or the narrowest there is."""
        variants = self._variants()
        return next((text for text in variants if len(text) <= columns), variants[-1])

    def _variants(self) -> tuple[str, ...]:
        progress = self.progress
        steps = f"{progress.steps:,}"
        step = f"{progress.step:,}".rjust(len(steps))
        losses, short = f"training {progress.train.bits:.3f}", f"{progress.train.bits:.3f}"
        if progress.validation is not None:
            losses += f", held out {progress.validation.bits:.3f}"
            short += f" / {progress.validation.bits:.3f}"
        measure = progress.validation or progress.train
        end = "" if measure.accuracy is None else f", {measure.accuracy:.1%} right"
        end += " *" * (measure.nats == progress.best_loss)
        return (
            f"step {step} of {steps}  {losses} bits per {self.unit}{end}",
            f"step {step}  {losses} bits{end}",
            f"{step}  {short} bits{end}",
            f"{step}  {short}",
        )
