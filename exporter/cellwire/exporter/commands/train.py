"""`cellwire train`.

torch takes seconds to import, so it is imported inside the command: `cellwire --help` stays quick.
"""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cellwire.exporter.commands.console import console, one_line_errors

if TYPE_CHECKING:
    from cellwire.exporter.corpus import Corpus
    from cellwire.exporter.run import Run


def _finite(value: float) -> float:
    """Refuse infinity, which passes a range without an end and has no place in JSON."""
    if not math.isfinite(value):
        raise typer.BadParameter(f"{value} is not a finite number.")
    return value


def train(
    corpus: Annotated[Path, typer.Argument(help="A UTF-8 text file to learn from.")],
    *,
    out: Annotated[Path, typer.Option(help="The run folder to write.")],
    layers: Annotated[int, typer.Option(min=1, help="LSTM layers.")] = 2,
    hidden: Annotated[int, typer.Option(min=1, help="Units in each layer.")] = 256,
    embedding: Annotated[int, typer.Option(min=1, help="Numbers in a symbol's embedding.")] = 64,
    dropout: Annotated[float, typer.Option(min=0, max=0.9, help="Between layers.")] = 0.0,
    epochs: Annotated[
        int | None,
        typer.Option(min=1, help="Passes over the text; if not given, 10, or more if it is short."),
    ] = None,
    lanes: Annotated[
        int | None,
        typer.Option(min=1, help="Batch size; if not given, 64, or fewer if the text is short."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            min=1, help="Characters a step sees in each lane; if not given, 128, or fewer likewise."
        ),
    ] = None,
    learning_rate: Annotated[
        float, typer.Option(min=0, callback=_finite, help="Peak of the cycle.")
    ] = 4e-3,
    weight_decay: Annotated[float, typer.Option(min=0, callback=_finite, help="AdamW's.")] = 0.01,
    clip_norm: Annotated[
        float, typer.Option(min=0, callback=_finite, help="Greatest gradient norm.")
    ] = 1.0,
    validation_share: Annotated[
        float,
        typer.Option(min=0.001, max=0.5, help="The part at the end that is held out."),
    ] = 0.05,
    validate_every: Annotated[
        int | None,
        typer.Option(
            min=1, help="Steps between validations; if not given, 250, or a tenth of a short run."
        ),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Of first weights, windows and dropout.")
    ] = 1,
    start_from: Annotated[
        Path | None,
        typer.Option(
            help="Another run, of the same symbols and size, whose weights to begin with."
        ),
    ] = None,
    last_chars: Annotated[
        int | None,
        typer.Option(min=2, help="Learn only from so many characters before the held-out part."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the run in --out, as it was begun.")
    ] = False,
) -> None:
    """Train a character model on a text file; shows bits per character on held-out text."""
    with one_line_errors():
        from cellwire.exporter.corpus import Corpus, Split
        from cellwire.exporter.plan import Plan
        from cellwire.exporter.run import Run, RunConfig
        from cellwire.exporter.vocabulary import Vocabulary

        text = Corpus.read(corpus)
        if resume:
            run = Run.open(out)
            run.config.check_corpus(text)
        else:
            if start_from:
                Run.open(start_from)  # fails now, before a folder is made
            vocabulary = Vocabulary.of(text.text)
            split = Split.of(vocabulary.encode(text.text), validation_share, last_chars)
            plan = Plan.fitting(len(split.train), lanes, window, epochs)
            config = RunConfig(
                corpus=text.name,
                corpus_sha256=text.sha256,
                symbols=vocabulary.symbols,
                layers=layers,
                hidden=hidden,
                embedding=embedding,
                dropout=dropout,
                lanes=plan.windows.lanes,
                window=plan.windows.window,
                epochs=plan.epochs,
                learning_rate=learning_rate,
                weight_decay=weight_decay,
                clip_norm=clip_norm,
                validation_share=validation_share,
                validate_every=validate_every or plan.validate_every,
                seed=seed,
                start_from=str(start_from) if start_from else None,
                last_chars=last_chars,
            )
            run = Run.create(out, config)
        try:
            _train(run, text)
        except KeyboardInterrupt as error:
            again = shlex.join(["cellwire", "train", str(corpus), "--out", str(out), "--resume"])
            console.print(f"stopped; go on from the last validation with: {again}")
            raise typer.Exit(130) from error


def _train(run: Run, corpus: Corpus) -> None:
    """Train `run` from where it stands to its end, and show it on the terminal."""
    from cellwire.exporter.corpus import Split
    from cellwire.exporter.display import TrainingDisplay
    from cellwire.exporter.train import Training

    config = run.config
    ids = config.vocabulary.encode(corpus.text)
    split = Split.of(ids, config.validation_share, config.last_chars)
    training = Training(run, config, split)
    parameters = sum(p.numel() for p in training.model.parameters())
    console.print(
        f"{corpus.name}: {len(config.symbols):,} symbols, {len(split.train):,} characters to learn "
        f"from, {len(split.validation):,} held out\n"
        f"{config.layers} x {config.hidden} LSTM, {parameters:,} parameters: {training.steps:,} "
        f"steps of {config.lanes} x {config.window} characters ({config.epochs:,} epochs)"
    )
    training.resume()
    if training.step:
        console.print(f"going on after step {training.step:,} of {training.steps:,}")
    with TrainingDisplay(console, training.steps) as display:
        training.run(display.show)
    again = shlex.join(["cellwire", "export", str(run.path), "MODEL.onnx"])
    console.print(f"best validation: {training.best_bpc:.4f} bits per character. Next: {again}")
