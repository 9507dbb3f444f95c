"""A run folder: everything one training leaves behind.

    config.json      what was asked for, and what was read
    metrics.jsonl    one line per validation: step, losses in bits per character, speed
    last.pt          the newest checkpoint, to resume from
    best.pt          the checkpoint with the lowest validation loss, which `cellwire export` takes
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from cellwire.exporter.cells import CellShape, CharacterLstm
from cellwire.exporter.corpus import Corpus
from cellwire.exporter.errors import RunError
from cellwire.exporter.vocabulary import Vocabulary


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
    seed: int

    @property
    def shape(self) -> CellShape:
        """The size of the model."""
        return CellShape(len(self.symbols), self.embedding, self.hidden, self.layers, self.dropout)

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
        """Start a new run; RunError if the folder already holds one."""
        if (path / "config.json").exists():
            raise RunError(
                f"{path} already holds a run; add --resume to go on with it, or name another --out"
            )
        path.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(config), ensure_ascii=False, indent=2)
        (path / "config.json").write_text(text + "\n", encoding="utf-8")
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run that exists; RunError if there is none."""
        if not (path / "config.json").is_file():
            raise RunError(f"{path} is not a run folder: it has no config.json (cellwire train makes one)")
        return cls(path)

    @property
    def config(self) -> RunConfig:
        """The configuration the run was started with."""
        try:
            fields = json.loads((self.path / "config.json").read_text(encoding="utf-8"))
            return RunConfig(**{**fields, "symbols": tuple(fields["symbols"])})
        except (ValueError, TypeError, KeyError) as error:
            raise RunError(f"{self.path / 'config.json'} cannot be read: {error}") from error

    def log(self, progress: Progress) -> None:
        """Append one line of metrics."""
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(progress)) + "\n")

    def save(self, checkpoint: Checkpoint) -> None:
        """Write the last checkpoint, and the best one if it is; a crash leaves the old ones whole."""
        names = ["last.pt"]
        if checkpoint.validation_bpc <= checkpoint.best_bpc:
            names.append("best.pt")
        for name in names:
            partial = self.path / f"{name}.partial"
            torch.save(
                {field: getattr(checkpoint, field) for field in Checkpoint.__slots__}, partial
            )
            os.replace(partial, self.path / name)

    def load(self, name: str) -> Checkpoint:
        """Read `best.pt` or `last.pt`; RunError if it is not there."""
        path = self.path / name
        if not path.is_file():
            raise RunError(
                f"{path} is missing: the run has not reached its first validation; "
                "finish it with cellwire train --resume"
            )
        return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))

    def best_model(self) -> tuple[CharacterLstm, Checkpoint]:
        """Return the model of the best checkpoint, ready to evaluate, and the checkpoint."""
        checkpoint = self.load("best.pt")
        model = CharacterLstm(self.config.shape)
        model.load_state_dict(checkpoint.model)
        return model.eval(), checkpoint
