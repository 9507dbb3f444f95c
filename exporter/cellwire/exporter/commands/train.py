"""`cellwire train`.

torch takes seconds to import, so it is imported inside the command: `cellwire --help` stays fast.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cellwire.exporter.commands.console import console, one_line_errors, print_prose
from cellwire.exporter.commands.recipe_list import print_recipes
from cellwire.exporter.commands.shell import path_word, shell_line
from cellwire.exporter.commands.stop_signals import StopSignals
from cellwire.exporter.errors import RecipeError

if TYPE_CHECKING:
    from cellwire.exporter.training.compute import Compute
    from cellwire.exporter.training.training import Training


def train(
    text: Annotated[
        Path, typer.Argument(help="A text file to train on, or a CSV of labelled texts.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="The run folder to write.")],
    recipe: Annotated[
        str | None,
        typer.Option(
            metavar="NAME|FILE",
            help="A recipe of --list-recipes, or a TOML file. Default: the built-in recipe.",
        ),
    ] = None,
    list_recipes: Annotated[
        bool,
        typer.Option(
            "--list-recipes",
            is_eager=True,
            callback=print_recipes,
            help="List the recipes that can be given by name, and exit.",
        ),
    ] = False,
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
        bool,
        typer.Option(
            "--smoke", help="Shorten the recipe as its table 'smoke' says: a run of seconds."
        ),
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
        Literal["float32", "tf32", "mixed"],
        typer.Option(
            help="Of products. GPU only: tf32 rounds their factors to ten bits; mixed: bfloat16."
        ),
    ] = "float32",
) -> None:
    """Train a recurrent network on a text, and measure it on the part that is held out.

    To get started: cellwire train my.txt --out runs/my. Then: cellwire export runs/my my.onnx.
    Ctrl-C saves and stops; --resume continues. --set with an invalid key lists the valid ones.
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
    del list_recipes  # its callback has done all
    with one_line_errors():
        from cellwire.exporter.commands.introduction import introduction
        from cellwire.exporter.commands.summary import print_summary
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
        for sentence in filter(None, [*introduction(training), description]):
            print_prose(sentence)
        again = ["cellwire", "train", path_word(text), "--out", path_word(out), "--resume"]
        again += ["--device", device] * (device != "auto")
        again += ["--precision", precision] * (precision != "float32")
        _train(training, shell_line(again))
        print_summary(training)


def _start(
    text: Path,
    out: Path,
    recipe: str | None,
    changes: list[str],
    start_from: Path | None,
    compute: Compute,
    *,
    smoke: bool,
) -> tuple[Training, str]:
    """Start a run; return its training, and a description of its initial weights."""
    from cellwire.exporter.data.corpus import Corpus
    from cellwire.exporter.recipe.packaged import find_recipe
    from cellwire.exporter.recipe.recipe_file import read_recipe
    from cellwire.exporter.runs.run_folder import RunFolder
    from cellwire.exporter.training.start import start_training

    RunFolder.check_new(out)
    checked_recipe = read_recipe(find_recipe(recipe) if recipe else None, changes, smoke=smoke)
    return start_training(Corpus.read(text), checked_recipe, out, start_from, compute)


def _resume(text: Path, out: Path, compute: Compute) -> tuple[Training, str]:
    """Resume a run; return its training, and a description of its position."""
    from cellwire.exporter.data.corpus import Corpus
    from cellwire.exporter.runs.run_folder import RunFolder
    from cellwire.exporter.training.start import resume_training

    return resume_training(RunFolder.open(out), Corpus.read(text), compute)


def _train(training: Training, command_to_resume: str) -> None:
    """Train to the end, and show the progress; a signal saves and ends the command."""
    from cellwire.exporter.report.display import TrainingDisplay

    unit = training.config.unit
    with (
        StopSignals() as signals,
        TrainingDisplay(console, training.step, training.steps, unit) as display,
    ):
        training.run(display.show_progress, display.show_sample, signals.is_received)
    if training.is_finished:
        return
    console.print(f"stopped after step {training.step:,}; continue with:\n{command_to_resume}")
    raise typer.Exit(signals.exit_status)
