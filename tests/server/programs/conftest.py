"""A small LSTM cell, and two runtimes of it, compiled once."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.server.program_runs import HIDDEN, ROWS, SLOTS, Runtimes, reset
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.server.runtime.runtime import Runtime


@pytest.fixture(scope="package")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("models") / "tiny.onnx", lstm_cell(HIDDEN))


@pytest.fixture(scope="package")
def shared_runtimes(path: Path) -> Runtimes:
    """Their states are what earlier tests left; examples of Hypothesis reset them."""
    cell = read_cell(path)
    return Runtime(cell, SLOTS, ROWS), Runtime(cell, SLOTS, ROWS)


@pytest.fixture
def runtimes(shared_runtimes: Runtimes) -> Runtimes:
    """Both, with all states zero."""
    return reset(*shared_runtimes)


@pytest.fixture
def runtime(runtimes: Runtimes) -> Runtime:
    """The first, with all states zero."""
    return runtimes[0]
