"""A run folder: everything one training leaves behind.

What lies in it:

    config.json      the recipe, and what was read
    metrics.jsonl    one line per validation: step, losses, speed
    samples.txt      texts the network wrote on the way
    curves.png       the losses, drawn at the end
    last.pt          the newest checkpoint, to resume from
    best.pt          the one with the lowest loss, which `cellwire export` takes
    step-N.pt        those that were to be kept for good
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import torch

from cellwire.exporter.errors import FileError, RunError
from cellwire.exporter.network.network import Network
from cellwire.exporter.runs.files import write_whole
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.runs.progress import Progress
from cellwire.exporter.runs.run_config import RunConfig

CONFIG, METRICS, SAMPLES, CURVES = "config.json", "metrics.jsonl", "samples.txt", "curves.png"
LAST, BEST = "last.pt", "best.pt"

LOGS = (METRICS, SAMPLES)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A training at one step: all that going on needs.

    What counts is the loss of what is held out or, where nothing is, of the training.
    """

    step: int
    loss: float  # nats
    best_loss: float  # the lowest so far
    accuracy: float | None  # of labels
    held_out: bool  # whether the loss is of what is held out
    model: dict[str, Any]
    optimizer: dict[str, Any]
    log_bytes: dict[str, int]  # how long the logs were

    @property
    def measure(self) -> Measure:
        """Loss and accuracy."""
        return Measure(self.loss, self.accuracy)


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
        text = msgspec.json.format(msgspec.json.encode(config), indent=2)
        write_whole(path / CONFIG, text + b"\n")
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
            return msgspec.json.decode((self.path / CONFIG).read_bytes(), type=RunConfig)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RunError(f"{self.path / CONFIG} cannot be read: {error}") from error

    def log(self, name: str, text: str) -> None:
        """Append to metrics or samples; FileError if that cannot be done."""
        path = self.path / name
        try:
            with path.open("ab") as file:
                file.write(text.encode())
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}") from error

    def log_bytes(self) -> dict[str, int]:
        """Return how long the logs are."""
        paths = (self.path / name for name in LOGS)
        return {path.name: path.stat().st_size for path in paths if path.exists()}

    def cut_logs(self, log_bytes: dict[str, int]) -> None:
        """Cut off what the logs say of steps after a checkpoint, which will be taken again."""
        for name in LOGS:
            path = self.path / name
            if path.exists() and path.stat().st_size > log_bytes.get(name, 0):
                os.truncate(path, log_bytes.get(name, 0))

    def progress(self) -> Iterator[Progress]:
        """Yield the validations so far; RunError where a line is broken."""
        path = self.path / METRICS
        if not path.exists():
            return
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield Progress.of(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(f"{path} has a broken line: {error}") from error

    def save(self, checkpoint: Checkpoint, *, keep: bool = False) -> None:
        """Write the last checkpoint, and the best one if it is; FileError leaves the old ones.

        With `keep`, it is also written to a file of its own.
        """
        data = BytesIO()
        torch.save({field: getattr(checkpoint, field) for field in Checkpoint.__slots__}, data)
        if keep:
            write_whole(self.path / f"step-{checkpoint.step}.pt", data.getvalue())
        if checkpoint.loss <= checkpoint.best_loss:
            write_whole(self.path / BEST, data.getvalue())
        write_whole(self.path / LAST, data.getvalue())

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return (self.path / name).is_file()

    def load(self, name: str) -> Checkpoint:
        """Read a checkpoint; RunError if it is not there or broken."""
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

    def best_model(self) -> tuple[Network, Checkpoint]:
        """Return the network of the best checkpoint, ready to evaluate, and the checkpoint."""
        return self.model(BEST)

    def model(self, name: str) -> tuple[Network, Checkpoint]:
        """Return the network of a checkpoint, likewise."""
        checkpoint = self.load(name)
        network = Network(self.config.shape)
        try:
            network.load_state_dict(checkpoint.model)
        except RuntimeError as error:
            raise self.mismatch(name) from error
        return network.eval(), checkpoint
