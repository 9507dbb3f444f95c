"""A row whose logits are NaN is found by its log-probability, and harms no other row."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from tests.server.program_runs import adjustments_of, batch_of, one_step, rows_of
from tests.server.tiny_cell import lstm_cell

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.step import StepBatch
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.runtime import Runtime

ROWS = 8
BROKEN = 3  # both a token and the row that reads it
HEALTHY = np.delete(np.arange(ROWS), BROKEN)


def draws(**columns: object) -> StepBatch:
    return batch_of(ROWS, token=np.arange(ROWS), uniform=np.linspace(0, 0.99, ROWS), **columns)


BATCHES = {
    "plain": draws(),
    "top_k": draws(top_k=np.full(ROWS, 3)),
    "ranking": draws(top_k=np.arange(ROWS) % 4),
    "min_p": replace(draws(), adjustments=adjustments_of(ROWS, min_p=np.full(ROWS, 0.01))),
    "top_p": replace(draws(), adjustments=adjustments_of(ROWS, top_p=np.full(ROWS, 0.5))),
    "all": replace(
        draws(top_k=np.arange(ROWS) % 4), adjustments=adjustments_of(ROWS, top_p=np.full(ROWS, 0.5))
    ),
}


@pytest.fixture(scope="module", params=[90, 600])
def runtimes(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> list[Runtime]:
    """Of any size and of fixed shapes, for a model that breaks at one token."""
    symbols = tuple(chr(0x4E00 + number) for number in range(request.param))
    model = lstm_cell(9, symbols).model()
    for tensor in model.graph.initializer:
        if tensor.name == "table":
            table = numpy_helper.to_array(tensor).copy()
            table[BROKEN] = np.nan
            tensor.CopyFrom(numpy_helper.from_array(table, "table"))
    path = Path(tmp_path_factory.mktemp("models")) / "broken.onnx"
    onnx.save(model, path)
    ways = Execution(), Execution(fixed_shape=True)
    return [Runtime(read_cell(path), 40, ROWS, way) for way in ways]


@pytest.mark.parametrize("kind", BATCHES)
def test_a_row_of_nan_harms_no_other(runtimes: list[Runtime], kind: str) -> None:
    batch = BATCHES[kind]
    alone = batch if batch.adjustments is None else replace(batch, adjustments=None)
    alone = rows_of(alone, HEALTHY)
    if batch.adjustments is not None:
        limits = {
            "top_p": batch.adjustments.top_p[HEALTHY],
            "min_p": np.exp(batch.adjustments.log_min_p[HEALTHY]),
        }
        alone = replace(alone, adjustments=adjustments_of(len(HEALTHY), (), **limits))
    for runtime in runtimes:
        found, expected = one_step(runtime, batch), one_step(runtime, alone)
        assert np.isnan(found.log_probability[BROKEN])
        assert (found.chosen[HEALTHY] == expected.chosen).all()
        assert (found.log_probability[HEALTHY] == expected.log_probability).all()
