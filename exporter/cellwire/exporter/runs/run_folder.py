"""A run folder: the files of one training.

config.json      the recipe, the symbols and the text's checksum
metrics.jsonl    one line per checkpoint: step, losses, speed
samples.txt      texts that the network generated in training
curves.png       the losses, drawn at the end
last.pt          the newest checkpoint, to resume from
best.pt          the one with the lowest loss, which `cellwire export` takes
step-N.pt        those that are kept for good
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import msgspec
import torch

from cellwire.exporter.errors import FileError, RunError
from cellwire.exporter.network.network import Network
from cellwire.exporter.runs.checkpoint import Checkpoint
from cellwire.exporter.runs.files import write_atomically
from cellwire.exporter.runs.progress import Progress
from cellwire.exporter.runs.run_config import RunConfig

CONFIG, METRICS, SAMPLES, CURVES = "config.json", "metrics.jsonl", "samples.txt", "curves.png"
LAST, BEST = "last.pt", "best.pt"

LOGS = (METRICS, SAMPLES)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> RunFolder:
        """Start a new run; RunError if the folder holds one, FileError if it cannot be written."""
        if (path / CONFIG).exists():
            raise RunError(
                f"{path} already holds a run; add --resume to continue it, or name another --out"
            )
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{path} cannot be made a run folder: {error.strerror}") from error
        text = msgspec.json.format(msgspec.json.encode(config), indent=2)
        write_atomically(path / CONFIG, text + b"\n")
        return cls(path)

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a run; RunError if the folder holds none."""
        if not (path / CONFIG).is_file():
            raise RunError(
                f"{path} is not a run folder: it has no {CONFIG} (cellwire train makes one)"
            )
        return cls(path)

    @property
    def config(self) -> RunConfig:
        """The run's configuration; RunError if it is broken."""
        try:
            return msgspec.json.decode((self.path / CONFIG).read_bytes(), type=RunConfig)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise RunError(f"{self.path / CONFIG} cannot be read: {error}") from error

    def append_log(self, name: str, text: str) -> None:
        """Append to metrics or samples; FileError if the file cannot be written."""
        path = self.path / name
        try:
            with path.open("ab") as file:
                file.write(text.encode())
        except OSError as error:
            raise FileError(f"{path} cannot be written: {error.strerror}") from error

    def log_bytes(self) -> dict[str, int]:
        """Return the lengths of the logs, by name."""
        paths = (self.path / name for name in LOGS)
        return {path.name: path.stat().st_size for path in paths if path.exists()}

    def truncate_logs(self, log_bytes: dict[str, int]) -> None:
        """Remove the entries after a checkpoint, whose steps will be repeated."""
        for name in LOGS:
            path = self.path / name
            if path.exists() and path.stat().st_size > log_bytes.get(name, 0):
                os.truncate(path, log_bytes.get(name, 0))

    def read_metrics(self) -> Iterator[Progress]:
        """Yield the progress at each checkpoint; RunError if a line is broken."""
        path = self.path / METRICS
        if not path.exists():
            return
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield Progress.from_line(json.loads(line))
            except (ValueError, KeyError, TypeError) as error:
                raise RunError(f"{path} has a broken line: {error}") from error

    def save(self, checkpoint: Checkpoint, *, keep: bool = False) -> None:
        """Write the last checkpoint, and the best one if it is; FileError leaves the old files.

        With `keep`, it is also written to `step-N.pt`.
        """
        data = BytesIO()
        torch.save({field: getattr(checkpoint, field) for field in Checkpoint.__slots__}, data)
        if keep:
            write_atomically(self.path / f"step-{checkpoint.step}.pt", data.getvalue())
        if checkpoint.loss <= checkpoint.best_loss:
            write_atomically(self.path / BEST, data.getvalue())
        write_atomically(self.path / LAST, data.getvalue())

    def has(self, name: str) -> bool:
        """Whether the folder has a file."""
        return (self.path / name).is_file()

    def load(self, name: str) -> Checkpoint:
        """Read a checkpoint; RunError if it is missing or broken."""
        path = self.path / name
        if not self.has(name):
            raise RunError(
                f"{path} is missing: the run has not reached its first validation; "
                "continue it with cellwire train --resume"
            )
        try:
            return Checkpoint(**torch.load(path, map_location="cpu", weights_only=True))
        except (OSError, EOFError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
            raise RunError(f"{path} is not a whole checkpoint") from error

    def mismatch(self, name: str) -> RunError:
        """Return the error for a checkpoint whose weights have another shape."""
        return RunError(f"{self.path / name} does not fit {self.path / CONFIG}")

    def load_network(self, name: str = BEST) -> tuple[Network, Checkpoint]:
        """Return a checkpoint and its network in evaluation mode; RunError as in `load`."""
        checkpoint = self.load(name)
        network = Network(self.config.shape)
        try:
            network.load_state_dict(checkpoint.model)
        except RuntimeError as error:
            raise self.mismatch(name) from error
        return network.eval(), checkpoint
