"""A run folder: the files of one training.

config.json      the recipe, the symbols and the text's checksum
metrics.jsonl    one line per checkpoint: step, losses, speed
samples.txt      texts that the network generated in training
curves.png       the losses, drawn at the end
last.pt          the newest checkpoint, to resume from
best.pt          the one with the lowest loss, which `cellwire export` takes
step-N.pt        those that are kept for good
stopped.pt       where a training was stopped between two checkpoints; gone after the next
"""

from __future__ import annotations

import json
import os
import pickle
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import torch

from cellwire.exporter.errors import FileError, RunError
from cellwire.exporter.network.network import Network
from cellwire.exporter.runs.checkpoint import Checkpoint, Pause
from cellwire.exporter.runs.files import remove_partial_files, write_atomically
from cellwire.exporter.runs.progress import Progress
from cellwire.exporter.runs.run_config import RunConfig

CONFIG, METRICS, SAMPLES, CURVES = "config.json", "metrics.jsonl", "samples.txt", "curves.png"
LAST, BEST, STOPPED = "last.pt", "best.pt", "stopped.pt"

LOGS = (METRICS, SAMPLES)
_WRITTEN = (CONFIG, *LOGS, CURVES, LAST, BEST, STOPPED)


@dataclass(frozen=True, slots=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> RunFolder:
        """Start a new run; RunError if the folder holds one, FileError if it cannot be written."""
        cls.check_new(path)
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise FileError(f"{path} cannot be made a run folder: {error.strerror}") from error
        text = msgspec.json.format(msgspec.json.encode(config), indent=2)
        write_atomically(path / CONFIG, text + b"\n")
        return cls(path)

    @classmethod
    def check_new(cls, path: Path) -> None:
        """Raise RunError or FileError if no run can be started in `path`; nothing is written."""
        try:
            is_file = path.exists() and not path.is_dir()
            taken = [name for name in _WRITTEN if not is_file and (path / name).exists()]
        except OSError as error:
            raise FileError(f"{path} cannot be made a run folder: {error.strerror}") from error
        if is_file:
            raise FileError(
                f"{path} cannot be made a run folder: it is a file; name a new folder with --out"
            )
        if taken and cls(path).is_run:
            raise RunError(
                f"{path} already holds a run; add --resume to continue it, or name another --out"
            )
        if taken:
            raise RunError(
                f"{path} already holds {', '.join(taken)}, which a run would overwrite; "
                "name another --out"
            )

    @classmethod
    def open(cls, path: Path) -> RunFolder:
        """Open a run; RunError if the folder holds none."""
        try:
            has_config = (path / CONFIG).is_file()
        except OSError as error:
            raise RunError(f"{path} is not a run folder: {error.strerror}") from error
        if not has_config:
            raise RunError(
                f"{path} is not a run folder: it has no {CONFIG} (cellwire train makes one)"
            )
        return cls(path)

    @property
    def is_run(self) -> bool:
        """Whether the folder has a whole configuration of a run."""
        try:
            _ = self.config
        except RunError:
            return False
        return True

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
        (self.path / STOPPED).unlink(missing_ok=True)

    def save_pause(self, pause: Pause) -> None:
        """Write where the training is stopped; FileError leaves the old files."""
        data = BytesIO()
        torch.save({field: getattr(pause, field) for field in Pause.__slots__}, data)
        write_atomically(self.path / STOPPED, data.getvalue())

    def load_newest(self) -> Checkpoint | Pause | None:
        """Return the point to resume from; None if the run has none.

        RunError if a file is broken. Remains of writes that were cut off are removed.
        """
        remove_partial_files(self.path)
        checkpoint = self.load(LAST) if self.has(LAST) else None
        if not self.has(STOPPED):
            return checkpoint
        pause = Pause(**self._read(STOPPED, Pause.__slots__))
        # A pause stays behind if the training was killed right after its next checkpoint.
        return pause if checkpoint is None or pause.step > checkpoint.step else checkpoint

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
        return Checkpoint(**self._read(name, Checkpoint.__slots__))

    def _read(self, name: str, fields: Sequence[str]) -> dict[str, Any]:
        """Return the fields of a checkpoint or a pause; RunError if the file is broken."""
        path = self.path / name
        try:
            values = torch.load(path, map_location="cpu", weights_only=True)
        except (OSError, EOFError, RuntimeError, TypeError, pickle.UnpicklingError) as error:
            raise RunError(f"{path} is not a whole checkpoint") from error
        if not isinstance(values, dict) or values.keys() != set(fields):
            raise RunError(f"{path} is not a whole checkpoint")
        return values

    @property
    def checkpoint_names(self) -> tuple[str, ...]:
        """The checkpoints, without suffix, the short names first."""
        names = {path.stem for path in self.path.glob("*.pt")} - {Path(STOPPED).stem}
        return tuple(sorted(names, key=lambda name: (len(name), name)))

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
