"""`cellwire train`.

torch takes seconds to import, so it is imported inside the command: `cellwire --help` stays fast.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cellwire.exporter.commands.console import console, one_line_errors
from cellwire.exporter.errors import RecipeError

if TYPE_CHECKING:
    from cellwire.exporter.training.compute import Compute
    from cellwire.exporter.training.training import Training


def train(
    text: Annotated[
        Path, typer.Argument(help="A UTF-8 text file to train on, or a CSV of labelled texts.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="The run folder to write.")],
    recipe: Annotated[
        Path | None,
        typer.Option(help="A TOML file with all settings. Default: the built-in recipe."),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE",
            help="A setting of the recipe, such as batches.lanes=32; may be repeated.",
        ),
    ] = None,
    layers: Annotated[int | None, typer.Option(help="Short for --set network.layers.")] = None,
    hidden: Annotated[
        int | None, typer.Option(help="Units in each layer: --set network.hidden.")
    ] = None,
    dropout: Annotated[
        float | None, typer.Option(help="Between layers: --set network.dropout.")
    ] = None,
    epochs: Annotated[
        int | None, typer.Option(help="Passes over the text: --set run.epochs.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Short for --set optimizer.learning_rate.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Of weights, order and dropout: --set run.seed.")
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="Apply the recipe's [smoke] table: a run of seconds.")
    ] = False,
    start_from: Annotated[
        Path | None,
        typer.Option(
            help="Another run, of the same symbols and size, whose weights are the initial ones."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Continue the run in --out with its own settings.")
    ] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU if there is one.")
    ] = "auto",
    precision: Annotated[
        Literal["float32", "mixed"], typer.Option(help="mixed: products in bfloat16; GPU only.")
    ] = "float32",
) -> None:
    """Train a recurrent network on a text, and measure it on the part that is held out.

    To get started: cellwire train my.txt --out runs/my. Then: cellwire export runs/my my.onnx.
    The recipes in exporter/recipes show the settings; so does --set with an invalid key.
    """
    options = {
        "network.layers": layers,
        "network.hidden": hidden,
        "network.dropout": dropout,
        "run.epochs": epochs,
        "optimizer.learning_rate": learning_rate,
        "run.seed": seed,
    }
    changes = [f"{key}={value}" for key, value in options.items() if value is not None]
    changes += settings or []
    with one_line_errors():
        from cellwire.exporter.training.compute import Compute

        compute = Compute.select(device, precision)
        if resume:
            if recipe or changes or smoke or start_from:
                raise RecipeError(
                    "--resume continues a run with its own settings; leave out --recipe, --smoke, "
                    "--start-from and all settings, or start another run"
                )
            training, description = _resume(text, out, compute)
        else:
            training, description = _start(
                text, out, recipe, changes, start_from, compute, smoke=smoke
            )
        console.print(_introduction(training))
        if description:
            console.print(description)
        _train(training, text)
        _conclude(training)


def _start(
    text: Path,
    out: Path,
    recipe: Path | None,
    changes: list[str],
    start_from: Path | None,
    compute: Compute,
    *,
    smoke: bool,
) -> tuple[Training, str]:
    """Start a run; return its training, and a description of its initial weights."""
    from cellwire.exporter.data.corpus import Corpus
    from cellwire.exporter.recipe.recipe_file import read_recipe
    from cellwire.exporter.training.start import start_training

    checked_recipe = read_recipe(recipe, changes, smoke=smoke)
    return start_training(Corpus.read(text), checked_recipe, out, start_from, compute)


def _resume(text: Path, out: Path, compute: Compute) -> tuple[Training, str]:
    """Resume a run; return its training, and a description of its position."""
    from cellwire.exporter.data.corpus import Corpus
    from cellwire.exporter.runs.run_folder import RunFolder
    from cellwire.exporter.training.start import resume_training

    return resume_training(RunFolder.open(out), Corpus.read(text), compute)


def _introduction(training: Training) -> str:
    """Return the text, the network and the length of a training, for people."""
    config, dataset, recipe = training.config, training.dataset, training.config.recipe
    train_part = f"{dataset.train_tokens:,} {recipe.data.symbols}"
    batch = f"{recipe.batches.lanes} x {recipe.batches.window} {recipe.data.symbols}"
    amount, labels = train_part, ""
    if config.labels:
        amount = f"{len(dataset.train):,} texts ({train_part})"
        batch = f"{recipe.batches.lanes} texts"
        labels = f"; labels: {', '.join(config.labels)}"
    size = f"{recipe.network.layers} x {recipe.network.hidden} {recipe.network.cell}"
    return (
        f"{config.corpus}: {len(config.symbols):,} symbols, {amount} to train on, "
        f"{len(dataset.validation):,} held out{labels}\n"
        f"{size}, {training.network.parameter_count:,} parameters for {train_part}: "
        f"{training.steps:,} steps of {batch} ({recipe.run.epochs:,} epochs)"
    )


def _train(training: Training, text: Path) -> None:
    """Train to the end, and show the progress; exit with 130 on Ctrl-C."""
    from cellwire.exporter.report.display import TrainingDisplay

    try:
        with TrainingDisplay(console, training.steps, training.config.unit) as display:
            training.run(display.show_progress, display.show_sample)
    except KeyboardInterrupt as error:
        out = training.run_folder.path
        command = shlex.join(["cellwire", "train", str(text), "--out", str(out), "--resume"])
        console.print(f"stopped; continue from the last checkpoint with: {command}")
        raise typer.Exit(130) from error


def _conclude(training: Training) -> None:
    """Draw the losses, print the verdict, and name the next command."""
    from cellwire.exporter.report.curves import draw_as_text, write_png
    from cellwire.exporter.report.verdict import Losses, verdict
    from cellwire.exporter.runs.run_folder import BEST, CURVES

    run, config = training.run_folder, training.config
    checkpoints = list(run.read_metrics())
    console.print(draw_as_text(checkpoints, config.unit, min(console.width, 100)))
    write_png(checkpoints, config.unit, run.path / CURVES)
    choices, dropout = len(config.labels or config.symbols), config.recipe.network.has_dropout
    console.print(verdict(Losses.of(checkpoints, choices, dropout=dropout)))
    best = run.load(BEST)
    part = "validation" if best.held_out else "training"
    command = shlex.join(["cellwire", "export", str(run.path), "MODEL.onnx"])
    console.print(
        f"best {part}: {best.measure.describe(config.unit)}, at step {best.step:,}. Next: {command}"
    )
