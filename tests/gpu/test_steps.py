"""Steps on a device: results as on the CPU, to 1e-5 on a card."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.gpu.devices import REAL_DEVICES
from tests.gpu.step_batches import (
    MOST,
    all_drawn,
    assert_same,
    drawn,
    reference_and,
    same_draws,
    states,
    tolerance,
)
from tests.server.program_runs import adjustments_of
from tests.server.tiny_cell import SYMBOLS, CellWriter, labelled_cell, lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.batch.slots import ZERO
from cellwire.server.batch.step import StepBatch
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.device import Device
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS

Change = Callable[[StepBatch], StepBatch]

# The same draws but for those on the edge of two tokens, which are rare.
MOSTLY = 0.99


@pytest.mark.parametrize("steps", SUPPORTED_STEPS)
def test_results_are_those_of_the_cpu(cell: Cell, device: Device, steps: int) -> None:
    here, there = reference_and(device, cell)
    for seed in range(5):
        rows = 1 + 7 * seed
        # Forced, since a draw on the edge of two tokens would change all that follows.
        forced = np.random.default_rng(seed).integers(0, len(SYMBOLS), (steps, rows))
        batch = drawn(cell, seed, rows, steps, forced=forced)
        assert_same(here.step(batch), there.step(batch), batch, tolerance(device))
    # The trash slot takes what is nobody's.
    assert np.abs(states(here) - states(there))[ZERO:].max() <= tolerance(device)


def limited(rows: int) -> Change:
    """Every limit at once, and a change of each row's fourth symbol."""
    adjustments = adjustments_of(
        rows,
        [(row, 3, 1.5, 0.5) for row in range(rows)],
        top_p=np.full(rows, 0.8),
        min_p=np.full(rows, 0.01),
    )
    return lambda batch: replace(batch, adjustments=adjustments, top_k=np.arange(rows) % 9)


SAMPLERS: dict[str, Change] = {
    "temperature": lambda batch: batch,
    "top_k": lambda batch: replace(batch, top_k=np.arange(MOST) % 9 + 1),
    "ranked": lambda batch: replace(batch, top_k=np.arange(MOST) % 9, top_token_count=3),
    "adjusted": limited(MOST),
}


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_draws_what_the_cpu_draws(cell: Cell, device: Device, sampler: str) -> None:
    here, there = reference_and(device, cell)
    same = []
    for seed in range(20):
        batch = SAMPLERS[sampler](all_drawn(cell, seed, MOST))
        expected, found = here.step(batch), there.step(batch)
        same.append(same_draws(expected, found))
        # On a fixed shape more tokens are ranked, and their order among equals is anybody's.
        top, expected_top = (
            result.top_log_probability[:, : batch.top_token_count] for result in (found, expected)
        )
        assert np.abs(top - expected_top).max(initial=0) <= tolerance(device)
    assert np.mean(same) >= (1 if device.is_host else MOSTLY)


def top_p(rows: int, share: float) -> Change:
    adjustments = adjustments_of(rows, top_p=np.full(rows, share))
    return lambda batch: replace(batch, adjustments=adjustments)


def top_k(rows: int, ranks: int) -> Change:
    return lambda batch: replace(batch, top_k=np.full(rows, ranks))


ROWS = 8
LIMITS = {
    "none": lambda batch: batch,
    "top_p": top_p(ROWS, 0.9),
    "greedy": top_k(ROWS, 1),
    "top_k_50": top_k(ROWS, 50),
    "top_k_1000": top_k(ROWS, 1_000),
    "all": limited(ROWS),
}


@pytest.fixture(scope="module", params=[10_000, 50_000])
def vast(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Cell:
    """A model of so many words."""
    words = {"kind": "words", "symbols": [f"w{n}" for n in range(request.param)]}
    path = tmp_path_factory.mktemp("vast") / "vast.onnx"
    return read_cell(write_cell(path, lstm_cell(16, vocabulary=words)))


@REAL_DEVICES
@pytest.mark.slow
@pytest.mark.parametrize("limit", LIMITS)
def test_vocabularies_of_thousands_of_words(vast: Cell, device: Device, limit: str) -> None:
    here, there = reference_and(device, vast)
    same = []
    for seed in range(5):
        batch = LIMITS[limit](all_drawn(vast, seed, ROWS))
        expected, found = here.step(batch), there.step(batch)
        alike = (found.chosen == expected.chosen)[0]
        apart = np.abs(found.log_probability - expected.log_probability)[0]
        assert apart[alike].max() <= tolerance(device)
        same.append(alike.mean())
    # One of 40 draws may fall on an edge: there are a thousand times as many as of letters.
    assert np.mean(same) >= (1 if device.is_host else 0.95)


@pytest.mark.parametrize("number", [1, 63, 64, 65, 1_030])
def test_many_logits_are_changed(cell: Cell, device: Device, number: int) -> None:
    """The number of changes is rounded up to few sizes, by repeating the last."""
    here, there = reference_and(device, cell)
    places = np.random.default_rng(number).permutation(MOST * len(SYMBOLS))[:number]
    changes = [(*divmod(int(place), len(SYMBOLS)), 1.3, -0.7) for place in places]
    adjustments = adjustments_of(MOST, changes)
    batch = replace(all_drawn(cell, 1, MOST), adjustments=adjustments)
    expected, found = here.step(batch), there.step(batch)
    assert same_draws(expected, found) >= (1 if device.is_host else 0.9)


def shape_cell() -> CellWriter:
    """The state adds up rows of a table, and ones in a shape that a node computes."""
    cell = CellWriter()
    state = cell.state("sum", 4)
    cell.node("Gather", [cell.weights("table", cell.size, 4), "token"], "row")
    cell.node("Shape", [state], "shape")
    cell.constants.append(onnx.numpy_helper.from_array(np.array([1], np.float32), "one"))
    cell.node("Expand", ["one", "shape"], "ones")
    cell.node("Add", [cell.node("Add", [state, "row"], "read"), "ones"], "next_state.sum")
    cell.node("Tanh", ["next_state.sum"], "squashed")
    cell.node("MatMul", ["squashed", cell.weights("head", 4, cell.size)], "logits")
    return cell


def test_a_cell_may_ask_for_a_shape(tmp_path: Path, device: Device) -> None:
    """Such nodes run on the CPU; in a binding their results never change."""
    cell = read_cell(write_cell(tmp_path / "shape.onnx", shape_cell()))
    here, there = reference_and(device, cell)
    for seed, rows in enumerate((3, 30, 5)):
        forced = np.full((4, rows), 2)
        batch = drawn(cell, seed, rows, 4, forced=forced)
        assert_same(here.step(batch), there.step(batch), batch, tolerance(device))


def test_scores_are_those_of_the_cpu(tmp_path: Path, device: Device) -> None:
    cell = read_cell(write_cell(tmp_path / "labels.onnx", labelled_cell()))
    here, there = reference_and(device, cell)
    batch = drawn(cell, 1, 5, 4, forced=np.full((4, 5), 2), count=np.full(5, 4))
    expected, found = here.step(batch).scores, there.step(batch).scores
    assert expected is not None
    assert found is not None
    assert np.abs(found - expected).max() <= tolerance(device)


@pytest.mark.gpu
def test_an_operator_without_a_cuda_kernel_is_an_error(cuda: Device) -> None:
    node = helper.make_node("Det", ["in"], ["out"])
    square = helper.make_tensor_value_info("in", TensorProto.FLOAT, [2, 2])
    number = helper.make_tensor_value_info("out", TensorProto.FLOAT, [])
    graph = helper.make_graph([node], "det", [square], [number])
    model: onnx.ModelProto = helper.make_model(
        graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]
    )
    Compiled(model.SerializeToString(), device=cuda)
    with pytest.raises(ValueError, match=r"CPU|partition"):
        Compiled(model.SerializeToString(), device=cuda, captured=True)
