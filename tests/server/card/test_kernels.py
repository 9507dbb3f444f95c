"""The stand-in's operators, as CUDA's kernels compute them."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from tests.server.card.kernels import IndexFault, top_k
from tests.server.card.memory import garbage
from tests.server.card.program import Program

LOWEST = np.finfo(np.float64).min
NOWHERE = int(garbage((), np.int64))


def run(kind: str, *inputs: np.ndarray, **attributes: Any) -> list[np.ndarray]:  # noqa: ANN401  # of ONNX
    """Run one operator."""
    names = [f"in{place}" for place in range(len(inputs))]
    node = helper.make_node(kind, names, ["out"], **attributes)
    declared = [
        helper.make_tensor_value_info(
            name, helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in zip(names, inputs, strict=True)
    ]
    output = onnx.ValueInfoProto(name="out")
    output.type.tensor_type.elem_type = TensorProto.FLOAT
    graph = helper.make_graph([node], "one", declared, [output])
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    return list(Program(model, {}).run(dict(zip(names, inputs, strict=True)), []).values())


def test_a_short_row_is_filled_up_with_places_beyond_its_end() -> None:
    values = np.array([[-np.inf, 2.0, -np.inf, 2.0, -np.inf]])
    top, places = top_k(values, 5, largest=True)
    assert top.tolist() == [[2, 2, LOWEST, LOWEST, LOWEST]]
    assert places.tolist() == [[1, 3, 5, 6, 7]]


@pytest.mark.parametrize("length", [256, 512])
def test_nothing_is_added_while_all_is_finite(length: int) -> None:
    values = np.random.default_rng(1).permutation(length)[None].astype(np.float64)
    top, places = top_k(values, length, largest=True)
    assert (np.take_along_axis(values, places, 1) == top).all()
    assert (top == -np.sort(-values)).all()


def test_the_lowest_are_found_in_order() -> None:
    values = np.array([[5, 3, 9, 3]])
    top, places = top_k(values, 3, largest=False)
    assert (top.tolist(), places.tolist()) == ([[3, 3, 5]], [[1, 3, 0]])


def test_in_a_long_row_equals_come_in_the_order_of_the_threads() -> None:
    values = np.zeros((1, 600))
    values[0, 259] = 1
    _, places = top_k(values, 6, largest=True)
    assert places.tolist() == [[259, 0, 256, 512, 1, 257]]


def test_in_a_long_row_what_is_added_has_no_place() -> None:
    values = np.full((1, 300), -np.inf)
    values[0, 7] = 1
    top, places = top_k(values, 3, largest=True)
    assert top.tolist() == [[1, LOWEST, LOWEST]]
    assert places.tolist() == [[7, NOWHERE, NOWHERE]]


def test_more_than_the_row_has_are_refused() -> None:
    with pytest.raises(RuntimeError, match="should not be greater"):
        top_k(np.zeros((1, 4)), 5, largest=True)


def test_an_index_beyond_the_end_gives_what_its_kernel_leaves() -> None:
    values, beyond = np.ones((2, 3), np.float32), np.array([[0, 9], [1, -9]])
    (gathered,) = run("Gather", values, np.array([0, 9, -1]), axis=1)
    assert gathered.tolist() == [[1, 0, 1]] * 2
    (gathered,) = run("GatherElements", values, beyond, axis=1)
    assert gathered[:, 0].tolist() == [1, 1]
    assert np.isnan(gathered[:, 1]).all()
    updates = np.full((2, 2), 5, np.float32)
    (scattered,) = run("ScatterElements", values, beyond, updates, axis=1, reduction="add")
    assert scattered.tolist() == [[6, 1, 1], [1, 6, 1]]
    with pytest.raises(IndexFault):
        run("GatherND", values, beyond)
    with pytest.raises(IndexFault):
        run("ScatterND", values, beyond, np.zeros(2, np.float32))


def test_the_operators_of_a_loop_are_those_of_the_card() -> None:
    """Each step ranks a row with one finite number, and the places are stacked."""
    body = helper.make_graph(
        [
            helper.make_node("TopK", ["row", "two"], ["top", "places"], axis=1),
            helper.make_node("Identity", ["proceed"], ["goes_on"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("proceed", TensorProto.BOOL, []),
        ],
        [
            helper.make_tensor_value_info("goes_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("places", TensorProto.INT64, [1, 2]),
        ],
    )
    graph = helper.make_graph(
        [helper.make_node("Loop", ["trips", ""], ["all"], body=body)],
        "loop",
        [
            helper.make_tensor_value_info("trips", TensorProto.INT64, []),
            helper.make_tensor_value_info("row", TensorProto.FLOAT, [1, 3]),
        ],
        [helper.make_tensor_value_info("all", TensorProto.INT64, [3, 1, 2])],
        [helper.make_tensor("two", TensorProto.INT64, [1], [2])],
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    program = Program(model, {"two": np.array([2])})
    row = np.array([[-np.inf, 1, -np.inf]], np.float32)
    found = program.run({"trips": np.array(3), "row": row}, [])["all"]
    assert found.tolist() == [[[1, 3]]] * 3
