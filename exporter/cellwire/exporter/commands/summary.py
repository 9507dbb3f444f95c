"""What `cellwire train` says after it has trained."""

from __future__ import annotations

from cellwire.exporter.commands.console import console, print_prose
from cellwire.exporter.commands.shell import path_word, shell_line
from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.report.curves import draw_as_text, write_png
from cellwire.exporter.report.trend import Setting, Trend, entropy
from cellwire.exporter.report.verdict import verdict
from cellwire.exporter.runs.run_folder import BEST, CURVES
from cellwire.exporter.training.training import Training

_MAX_COLUMNS = 100


def print_summary(training: Training) -> None:
    """Draw the losses, print the verdict and the figures, and name the next command.

    FileError if the curves cannot be written; all else is printed before.
    """
    run, config = training.run_folder, training.config
    checkpoints = list(run.read_metrics())
    columns = min(console.width, _MAX_COLUMNS)
    ascii_only = console.options.ascii_only
    console.print(draw_as_text(checkpoints, config.unit, columns, ascii_only=ascii_only))
    print_prose(str(verdict(Trend.of(checkpoints, _setting(training)))))
    best = run.load(BEST)
    part = "validation" if best.held_out else "training"
    print_prose(f"best {part}: {best.measure.describe(config.unit)}, at step {best.step:,}")
    symbols = config.recipe.data.symbols
    print_prose(f"speed: {checkpoints[-1].tokens_per_s:,.0f} {symbols} per second")
    command = shell_line(["cellwire", "export", path_word(run.path), "MODEL.onnx"])
    console.print(f"Next: {command}")
    write_png(checkpoints, config.unit, run.path / CURVES)


def _setting(training: Training) -> Setting:
    dataset = training.dataset
    held_out = dataset.validation
    return Setting(
        baseline_nats=entropy(dataset.answer_counts.tolist()),
        train_tokens=dataset.train_tokens,
        parameters=training.network.parameter_count,
        held_out_texts=len(held_out) if isinstance(held_out, Examples) else 0,
        dropout=training.config.recipe.network.has_dropout,
    )
