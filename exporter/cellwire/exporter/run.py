"""A run folder: everything one training leaves behind.

What lies in it:

    config.json      what was asked for, and what was read
    metrics.jsonl    one line per validation: step, losses in bits per character, speed
    last.pt          the newest checkpoint, to resume from
    best.pt          the one with the lowest validation loss, which `cellwire export` takes
"""

from __future__ import annotations

import json
import pickle
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch

from cellwire.exporter.cells import CellShape, CharacterLstm
from cellwire.exporter.corpus import Corpus
from cellwire.exporter.errors import FileError, RunError
from cellwire.exporter.files import write_whole
from cellwire.exporter.vocabulary import Vocabulary

CONFIG, METRICS, LAST, BEST = "config.json", "metrics.jsonl", "last.pt", "best.pt"


@dataclass(frozen=True, slots=True)
class RunConfig:
    """What a training run was asked for."""

    corpus: str
    corpus_sha256: str
    symbols: tuple[str, ...]
    layers: int
    hidden: int
    embedding: int
    dropout: float
    lanes: int
    window: int
    epochs: int
    learning_rate: float
    weight_decay: float
    clip_norm: float
    validation_share: float
    validate_every: int  # steps; training state starts afresh there, so it is part of the recipe
    seed: int
    start_from: str | None = None  # another run, whose best weights were the first of this one
    last_chars: int | None = None  # of the training part; None for all of it

    @property
    def shape(self) -> CellShape:
        """The size of the model."""
        return CellShape(len(self.symbols), self.embedding, self.hidden, self.layers, self.dropout)

    @property
    def recipe(self) -> dict[str, int | float | str | None]:
        """What the text was trained with: every option, without the text itself."""
        text = ("corpus", "corpus_sha256", "symbols")
        return {name: value for name, value in asdict(self).items() if name not in text}

    def check_corpus(self, corpus: Corpus) -> None:
        """Raise RunError unless `corpus` is the text the run was started with."""
        if corpus.sha256 != self.corpus_sha256:
            raise RunError(
                f"{corpus.name} is not the text this run was started with ({self.corpus}, "
                f"sha256 {self.corpus_sha256[:12]})"
            )

    @property
    def vocabulary(self) -> Vocabulary:
        """The symbols of the model."""
        return Vocabulary(self.symbols)


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a training stands; losses in bits per character, None until first known."""

    step: int
    steps: int
    train_bpc: float
    validation_bpc: float | None
    best_bpc: float | None
    chars_per_s: float


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training at one step: all that going on needs."""

    step: int
    validation_bpc: float
    best_bpc: float
    model: dict[str, Any]
    optimizer: dict[str, Any]
    schedule: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Run:
    """The files of one run folder."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> Run:
        """Start a new run; RunError if the folder holds one, FileError if it cannot be written."""
        if (path / CONFIG).exists():
            raise RunError(
                f"{path} already holds a run; add --resume to go on with it, or name another --out"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{path} cannot be made a run folder: {error.strerror}") from error
        text = json.dumps(asdict(config), ensure_ascii=False, indent=2)
        write_whole(path / CONFIG, f"{text}\n".encode())
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run that exists; RunError if there is none."""
        if not (path / CONFIG).is_file():
            raise RunError(
                f"{path} is not a run folder: it has no {CONFIG} (cellwire train makes one)"
            )
        return cls(path)

    @property
    def config(self) -> RunConfig:
        """The configuration the run was started with."""
        try:
            fields = json.loads((self.path / CONFIG).read_text(encoding="utf-8"))
            return RunConfig(**{**fields, "symbols": tuple(fields["symbols"])})
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise RunError(f"{self.path / CONFIG} cannot be read: {error}") from error

    def log(self, progress: Progress) -> None:
        """Append one line of metrics."""
        path = self.path / METRICS
        try:
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(progress)) + "\n")
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}") from error

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the last checkpoint, and the best one if it is; FileError leaves the old ones."""
        data = BytesIO()
        torch.save({field: getattr(checkpoint, field) for field in Checkpoint.__slots__}, data)
        if checkpoint.validation_bpc <= checkpoint.best_bpc:
            write_whole(self.path / BEST, data.getvalue())
        write_whole(self.path / LAST, data.getvalue())

    def has(self, name: str) -> bool:
        """Whether the checkpoint `best.pt` or `last.pt` is there."""
        return (self.path / name).is_file()

    def load(self, name: str) -> Checkpoint:
        """Read `best.pt` or `last.pt`; RunError if it is not there or broken."""
        path = self.path / name
        if not self.has(name):
            raise RunError(
                f"{path} is missing: the run has not reached its first validation; "
                "go on with it by cellwire train --resume"
            )
        try:
            return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, EOFError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
            raise RunError(f"{path} is not a whole checkpoint") from error

    def mismatch(self, name: str) -> RunError:
        """Return the error for a checkpoint whose weights are of another shape."""
        return RunError(f"{self.path / name} does not fit {self.path / CONFIG}")

    def best_model(self) -> tuple[CharacterLstm, Checkpoint]:
        """Return the model of the best checkpoint, ready to evaluate, and the checkpoint."""
        checkpoint = self.load(BEST)
        model = CharacterLstm(self.config.shape)
        try:
            model.load_state_dict(checkpoint.model)
        except RuntimeError as error:
            raise self.mismatch(BEST) from error
        return model.eval(), checkpoint
