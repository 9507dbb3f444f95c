"""`cellwire serve` as a user runs it: a process that clients reach over a socket."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.server.tiny_cell import lstm_cell, write_cell

CELLWIRE = Path(sys.executable).parent / "cellwire"
GUARD_S = 60

if importlib.util.find_spec("torch") is None:
    # They make their cells with torch, of the train extra.
    collect_ignore = ["test_every_cell.py", "test_cuda_cells.py"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder as slow: each waits for processes to start."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.slow)


@dataclass(frozen=True, slots=True)
class Served:
    """A daemon that is ready, and two of the lines it has printed."""

    process: subprocess.Popen[str]
    placed_line: str
    ready_line: str
    address: str

    def stop(self, signal: int) -> tuple[int, str]:
        """Send a signal; return the exit status and the rest of stderr."""
        self.process.send_signal(signal)
        return self.end()

    def end(self) -> tuple[int, str]:
        """Wait until the daemon ends; return the exit status and the rest of stderr."""
        _, stderr = self.process.communicate(timeout=GUARD_S)
        return self.process.returncode, stderr


SERVE = (str(CELLWIRE), "serve")


@contextmanager
def served(*arguments: str, command: Sequence[str] = SERVE) -> Iterator[Served]:
    """Start a daemon on a free port, or where `--listen` says; killed at the end."""
    process = subprocess.Popen(
        [*command, "--listen", "127.0.0.1:0", *arguments], stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        placed = process.stderr.readline()
        said, ready = [placed], None
        while said[-1] and not (ready := re.search(r"ready on (\S+);", said[-1])):
            said.append(process.stderr.readline())
        line = said[-1]
        assert ready, "".join(said)
        yield Served(process, placed, line, ready[1])
    finally:
        process.kill()
        process.communicate()


def run(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    return subprocess.run(
        [str(CELLWIRE), *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=GUARD_S,
        check=False,
    )


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("models") / "tiny.onnx", lstm_cell(16))


@pytest.fixture(scope="session")
def other_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cell = lstm_cell(8, symbols=tuple("東風夜放花千樹"), seed=3)
    return write_cell(tmp_path_factory.mktemp("models") / "verse.onnx", cell)


@pytest.fixture(scope="module")
def daemon(model: Path, other_model: Path) -> Iterator[Served]:
    with served("--model", str(model), "--model", str(other_model)) as daemon:
        yield daemon
