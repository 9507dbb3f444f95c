"""`cellwire train`.

torch takes seconds to import, so it is imported inside the command: `cellwire --help` stays quick.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cellwire.exporter.commands.console import console, one_line_errors
from cellwire.exporter.errors import RecipeError

if TYPE_CHECKING:
    from cellwire.exporter.training.training import Training


def train(
    text: Annotated[
        Path, typer.Argument(help="A UTF-8 text file to learn from, or a CSV of labelled texts.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="The run folder to write.")],
    recipe: Annotated[
        Path | None,
        typer.Option(help="A TOML file with all settings; if not given, the built-in recipe."),
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
        bool, typer.Option("--smoke", help="Apply the recipe's own table for it: a run of seconds.")
    ] = False,
    start_from: Annotated[
        Path | None,
        typer.Option(
            help="Another run, of the same symbols and size, whose weights to begin with."
        ),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, as it was begun.")
    ] = False,
    device: Annotated[
        Literal["auto", "cpu", "cuda"], typer.Option(help="auto: a GPU if there is one.")
    ] = "auto",
    precision: Annotated[
        Literal["float32", "mixed"], typer.Option(help="mixed: products in bfloat16; GPU only.")
    ] = "float32",
) -> None:
    """Train a recurrent network on a text, and say how well it does on what is held out.

    To get going: cellwire train my.txt --out runs/my. Then: cellwire export runs/my my.onnx.
    The recipes in exporter/recipes show what can be set; so does --set with a key that is wrong.
    """
    short = {
        "network.layers": layers,
        "network.hidden": hidden,
        "network.dropout": dropout,
        "run.epochs": epochs,
        "optimizer.learning_rate": learning_rate,
        "run.seed": seed,
    }
    wanted = [f"{key}={value}" for key, value in short.items() if value is not None]
    wanted += settings or []
    with one_line_errors():
        from cellwire.exporter.data.corpus import Corpus
        from cellwire.exporter.recipe.recipe_file import read_recipe
        from cellwire.exporter.runs.run_folder import Run
        from cellwire.exporter.training.compute import Compute
        from cellwire.exporter.training.start import begin, go_on

        compute = Compute.chosen(device, precision)
        if resume:
            if recipe or wanted or smoke or start_from:
                raise RecipeError(
                    "--resume goes on as the run was begun; leave out --recipe, --smoke, "
                    "--start-from and all settings, or begin another run"
                )
            training, how = go_on(Run.open(out), Corpus.read(text), compute)
        else:
            asked = read_recipe(recipe, wanted, smoke=smoke)
            training, how = begin(Corpus.read(text), asked, out, start_from, compute)
        console.print(introduction(training))
        if how:
            console.print(how)
        try:
            _train(training)
        except KeyboardInterrupt as error:
            again = shlex.join(["cellwire", "train", str(text), "--out", str(out), "--resume"])
            console.print(f"stopped; go on from the last validation with: {again}")
            raise typer.Exit(130) from error
        _conclude(training)


def introduction(training: Training) -> str:
    """Return what is going to be trained, on what, and for how long."""
    config, dataset = training.config, training.dataset
    settings, symbols = config.recipe, f"{dataset.symbols:,} {config.recipe.data.symbols}"
    if config.labels:
        amount = f"{len(dataset.train):,} texts ({symbols})"
        batch = f"{settings.batches.lanes} texts"
    else:
        amount = symbols
        batch = f"{settings.batches.lanes} x {settings.batches.window} {settings.data.symbols}"
    parameters = training.network.parameter_count
    size = f"{settings.network.layers} x {settings.network.hidden} {settings.network.cell}"
    labels = f"; labels: {', '.join(config.labels)}" if config.labels else ""
    return (
        f"{config.corpus}: {len(config.symbols):,} symbols, {amount} to learn from, "
        f"{len(dataset.validation):,} held out{labels}\n"
        f"{size}, {parameters:,} parameters for {symbols}: {training.steps:,} steps of {batch} "
        f"({settings.run.epochs:,} epochs)"
    )


def _train(training: Training) -> None:
    """Train to the end, and show it on the terminal."""
    from cellwire.exporter.report.display import TrainingDisplay

    with TrainingDisplay(console, training.steps, training.config.unit) as display:
        training.run(display.show, display.tell)


def _conclude(training: Training) -> None:
    """Draw the curves, say what the losses mean, and what to do next."""
    from cellwire.exporter.report.curves import drawn_as_text, write_png
    from cellwire.exporter.report.verdict import Losses, verdict
    from cellwire.exporter.runs.run_folder import BEST, CURVES

    run, config = training.run_folder, training.config
    checkpoints = list(run.progress())
    console.print(drawn_as_text(checkpoints, config.unit, min(console.width, 100)))
    write_png(checkpoints, config.unit, run.path / CURVES)
    best = run.load(BEST)
    kind = "validation" if best.held_out else "training"
    choices, dropout = len(config.labels or config.symbols), config.recipe.network.drops
    console.print(verdict(Losses.of(checkpoints, choices, dropout=dropout)))
    again = shlex.join(["cellwire", "export", str(run.path), "MODEL.onnx"])
    console.print(
        f"best {kind}: {best.measure.described(config.unit)}, at step {best.step:,}. Next: {again}"
    )
