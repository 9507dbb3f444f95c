"""What the tests of foreign models do with a model file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from cellwire.client import Client, connect
from cellwire.server.host.config import Config
from cellwire.server.rpc.daemon import Daemon

Array = npt.NDArray[Any]


def run_cell(model: Path | bytes, tokens: Array) -> dict[str, Array]:
    """Run the bare cell over tokens `[steps, batch]`; return its outputs `[steps, batch, ...]`.

    It is given as a file, or as what is in one.
    """
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [value.name for value in session.get_outputs()]
    states = {
        value.name: np.zeros((tokens.shape[1], *value.shape[1:]), np.float32)
        for value in session.get_inputs()
        if value.name != "token"
    }
    steps = []
    for row in tokens:
        outputs = dict(zip(names, session.run(names, {"token": row, **states}), strict=True))
        states = {name: outputs[f"next_{name}"] for name in states}
        steps.append(outputs)
    return {name: np.stack([outputs[name] for outputs in steps]) for name in names}


def check_rows_by_themselves(model: Path | bytes, tokens: Array) -> None:
    """Raise AssertionError unless every row gives alone, bit for bit, what it does in the batch."""
    together = run_cell(model, tokens)
    for row in range(tokens.shape[1]):
        alone = run_cell(model, tokens[:, [row]])
        for name, found in alone.items():
            np.testing.assert_array_equal(found[:, 0], together[name][:, row])


@asynccontextmanager
async def served(path: Path) -> AsyncIterator[Client]:
    """A daemon that serves the file, and a client of it."""
    config = Config(listen="127.0.0.1:0", models=(path,), sessions=40, threads=1)
    async with Daemon(config) as daemon, connect(daemon.address) as client:
        yield client
