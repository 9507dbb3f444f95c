"""`cellwire train` and `cellwire export`.

torch takes seconds to import, so it is imported inside the commands: `cellwire --help` stays quick.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from cellwire.exporter.errors import ExporterError

if TYPE_CHECKING:
    from cellwire.exporter.corpus import Corpus
    from cellwire.exporter.run import Run

_console = Console(stderr=True)


def _fail(error: ExporterError) -> typer.Exit:
    _console.print(f"[red]cellwire:[/red] {error}", highlight=False)
    return typer.Exit(2)


def train(
    corpus: Annotated[Path, typer.Argument(help="A UTF-8 text file to learn from.")],
    out: Annotated[Path, typer.Option(help="The run folder to write.")],
    layers: Annotated[int, typer.Option(min=1, help="LSTM layers.")] = 2,
    hidden: Annotated[int, typer.Option(min=1, help="Units in each layer.")] = 256,
    embedding: Annotated[int, typer.Option(min=1, help="Numbers in a symbol's embedding.")] = 64,
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Between layers.")] = 0.0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the text.")] = 10,
    lanes: Annotated[int, typer.Option(min=1, help="Batch size: parallel places.")] = 64,
    window: Annotated[int, typer.Option(min=1, help="Characters a step sees in each lane.")] = 128,
    learning_rate: Annotated[float, typer.Option(min=0, help="Peak of the cycle.")] = 4e-3,
    weight_decay: Annotated[float, typer.Option(min=0, help="AdamW's.")] = 0.01,
    clip_norm: Annotated[float, typer.Option(min=0, help="Greatest gradient norm.")] = 1.0,
    validation_share: Annotated[
        float, typer.Option(min=0.001, max=0.5, help="The part at the end that is held out.")
    ] = 0.05,
    validate_every: Annotated[int, typer.Option(min=1, help="Steps between validations.")] = 250,
    seed: Annotated[int, typer.Option(help="Of the first weights, windows and dropout.")] = 1,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run in --out.")] = False,
) -> None:
    """Train a character model on a text file; shows bits per character on held-out text."""
    from cellwire.exporter.corpus import Corpus
    from cellwire.exporter.run import Run, RunConfig
    from cellwire.exporter.vocabulary import Vocabulary

    try:
        text = Corpus.read(corpus)
        if resume:
            run = Run.open(out)
            run.config.check_corpus(text)
        else:
            run = Run.create(
                out,
                RunConfig(
                    corpus=text.name,
                    corpus_sha256=text.sha256,
                    symbols=Vocabulary.of(text.text).symbols,
                    layers=layers,
                    hidden=hidden,
                    embedding=embedding,
                    dropout=dropout,
                    lanes=lanes,
                    window=window,
                    epochs=epochs,
                    learning_rate=learning_rate,
                    weight_decay=weight_decay,
                    clip_norm=clip_norm,
                    validation_share=validation_share,
                    seed=seed,
                ),
            )
        _train(run, text, resume, validate_every)
    except ExporterError as error:
        raise _fail(error) from error


def _train(run: Run, corpus: Corpus, resume: bool, validate_every: int) -> None:
    """Build the training of `run`, and show it on the terminal until it is done."""
    from cellwire.exporter.corpus import Split
    from cellwire.exporter.display import TrainingDisplay
    from cellwire.exporter.train import Training

    config = run.config
    split = Split.of(config.vocabulary.encode(corpus.text), config.validation_share)
    training = Training(run, config, split)
    if resume:
        training.resume()
    parameters = sum(p.numel() for p in training.model.parameters())
    _console.print(
        f"{corpus.name}: {len(corpus.text):,} characters, {len(config.symbols):,} symbols; "
        f"{config.layers} x {config.hidden} LSTM, {parameters:,} parameters; "
        f"{training.steps:,} steps of {training.windows.lanes} x {config.window}",
        highlight=False,
    )
    with TrainingDisplay(_console, training.steps) as display:
        training.run(validate_every, display.show)
    _console.print(
        f"best validation: {training.best_bpc:.4f} bits per character. Next: "
        f"cellwire export {run.path} MODEL.onnx",
        highlight=False,
    )
