from __future__ import annotations

import onnx
import pytest
from onnx import numpy_helper
from tests.exporter.networks import small_network

from cellwire.exporter.export.fold import fold
from cellwire.exporter.export.graph import cell_graph
from cellwire.exporter.export.parity import Parity, measure_parity, measure_rounding
from cellwire.exporter.network.kinds import KINDS, Kind


def spoil(cell: onnx.ModelProto, constant: str) -> None:
    """Add 1e-4 to every other column of a constant; a shift of all would not change scores."""
    (tensor,) = (tensor for tensor in cell.graph.initializer if tensor.name == constant)
    array = numpy_helper.to_array(tensor).copy()
    array[..., ::2] += 1e-4
    tensor.CopyFrom(numpy_helper.from_array(array, constant))


@pytest.mark.parametrize(("kind", "labels"), [*((kind, 0) for kind in KINDS), ("lstm", 3)])
def test_a_wrong_layer_is_detected(kind: Kind, labels: int) -> None:
    network = small_network(kind, 2, labels=labels)
    cell = cell_graph(fold(network))
    assert measure_parity(cell, network).holds
    spoil(cell, "layer1.input_projection.bias")
    assert not measure_parity(cell, network).holds


@pytest.mark.parametrize("labels", [0, 3])
def test_a_wrong_head_is_detected(labels: int) -> None:
    network = small_network("gru", labels=labels)
    cell = cell_graph(fold(network))
    name = "head.weights" if labels else "logits.weights"
    spoil(cell, name)
    assert not measure_parity(cell, network).holds


@pytest.mark.parametrize(
    ("error", "rounding", "holds"),
    [
        (9e-6, 1e-7, True),
        (2e-5, 1e-7, False),
        (2e-5, 1e-5, True),
        (float("nan"), 1e-7, False),
        (float("nan"), float("nan"), False),
    ],
)
def test_the_limit_grows_with_torchs_own_error(
    error: float,
    rounding: float,
    holds: bool,  # noqa: FBT001  # a column of the table above
) -> None:
    assert Parity(error, rounding).holds is holds


@pytest.mark.parametrize("labels", [0, 3])
def test_the_cost_grows_with_the_rounding(labels: int) -> None:
    network = small_network("lstm", 2, labels=labels)
    folded = fold(network)
    none = measure_rounding(cell_graph(folded), network)
    half = measure_rounding(cell_graph(folded, "float16"), network)
    most = measure_rounding(cell_graph(folded, "int8"), network)
    assert abs(none.loss_bits) < 1e-9
    assert none.error < 1e-5 < half.error < most.error
    assert 1e-9 < half.loss_bits < most.loss_bits / 10
