"""Where the stand-in places nodes, and where those of the programs are."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from onnx import TensorProto, helper
from tests.server.card.placement import Placement, place
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.programs.beam_program import BeamProgram, compose_beam_program
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program
from cellwire.server.programs.transfer_program import compose_read, compose_write
from cellwire.server.runtime.card_lock import on_device
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.device import Device
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS

NUMBER = TensorProto.INT64


def model_of(*nodes: onnx.NodeProto, inputs: dict[str, list[str | int]]) -> onnx.ModelProto:
    """Nodes whose last output is the graph's; inputs are float32, and "k" is a constant."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()],
        [onnx.ValueInfoProto(name=nodes[-1].output[0])],
        [helper.make_tensor("k", NUMBER, [1], [2])],
    )
    graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT
    return helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])


def placed(serialized: bytes) -> Placement:
    return place(onnx.load_model_from_string(serialized))


def test_an_operator_without_a_kernel_is_the_hosts() -> None:
    placement = place(
        model_of(
            helper.make_node("Tanh", ["in"], ["before"]),
            helper.make_node("Det", ["before"], ["det"]),
            helper.make_node("Tanh", ["det"], ["out"]),
            inputs={"in": [2, 2]},
        )
    )
    assert placement.host_nodes == ["Det of det"]
    assert placement.copies == ["before for Det of det", "det for Tanh of out"]
    assert not placement.capturable


def test_what_only_computes_with_shapes_is_the_hosts_without_a_copy() -> None:
    placement = place(
        model_of(
            helper.make_node("Shape", ["in"], ["shape"]),
            helper.make_node("Mul", ["shape", "k"], ["twice"]),
            helper.make_node("Expand", ["in", "twice"], ["out"]),
            inputs={"in": ["n", "m"]},
        )
    )
    assert placement.host_nodes == ["Mul of twice"]
    assert placement.capturable


def test_a_length_that_the_card_computes_is_copied() -> None:
    placement = place(
        model_of(
            helper.make_node("Cast", ["length"], ["number"], to=NUMBER),
            helper.make_node("TopK", ["in", "number"], ["out", "places"]),
            inputs={"in": ["n", "m"], "length": [1]},
        )
    )
    assert placement.copies == ["number for TopK of out"]


def test_what_is_computed_from_constants_is_nowhere() -> None:
    placement = place(
        model_of(
            helper.make_node("Mul", ["k", "k"], ["four"]),
            helper.make_node("TopK", ["in", "four"], ["out", "places"]),
            inputs={"in": ["n", "m"]},
        )
    )
    assert placement == Placement()


@pytest.mark.parametrize("variant", SamplerVariant)
@pytest.mark.parametrize("steps", SUPPORTED_STEPS)
@pytest.mark.parametrize("unknown", ["", "q"])
@pytest.mark.parametrize("ragged", [False, True])
def test_a_step_program_is_on_the_card_as_a_whole(
    tmp_path: Path,
    variant: SamplerVariant,
    steps: int,
    unknown: str,
    ragged: bool,  # noqa: FBT001
) -> None:
    vocabulary = {"kind": "words", "symbols": [*"abcq"]} | ({"unknown": "q"} if unknown else {})
    cell = read_cell(write_cell(tmp_path / "cell.onnx", lstm_cell(3, vocabulary=vocabulary)))
    shape = ProgramShape(steps, 3 if variant.ranks_tokens else 0)
    placement = placed(compose_step_program(cell, variant, shape, ragged=ragged))
    assert placement.capturable
    assert placement.host_nodes == []
    assert not placement.host_inputs


def test_rows_are_moved_on_the_card(cell: Cell) -> None:
    for serialized in (compose_read(cell), compose_write(cell)):
        assert placed(serialized) == Placement()


@pytest.mark.parametrize("may_end", [False, True])
def test_a_search_waits_for_the_card_at_its_end_only(
    cell: Cell,
    may_end: bool,  # noqa: FBT001
) -> None:
    placement = placed(compose_beam_program(cell, BeamProgram(may_end, 4)))
    assert placement.copies == []
    assert placement.control_flow == []
    assert placement.host_nodes == []


def test_a_search_in_a_loop_would_wait_in_every_step(cell: Cell) -> None:
    placement = placed(compose_beam_program(cell, BeamProgram(may_end=False)))
    assert any("the loop's condition" in copy for copy in placement.copies)


def test_a_program_that_is_not_on_the_card_as_a_whole_is_not_captured(cuda: Device) -> None:
    serialized = model_of(
        helper.make_node("Det", ["in"], ["out"]), inputs={"in": [2, 2]}
    ).SerializeToString()
    with on_device(cuda):
        Compiled(serialized, device=cuda)
    with pytest.raises(ValueError, match="not been partitioned"):
        Compiled(serialized, device=cuda, captured=True)


def test_a_program_may_compute_with_shapes_and_be_captured(cuda: Device) -> None:
    serialized = model_of(
        helper.make_node("Shape", ["in"], ["shape"]),
        helper.make_node("Mul", ["shape", "k"], ["twice"]),
        helper.make_node("Expand", ["in", "twice"], ["out"]),
        inputs={"in": ["n", "m"]},
    ).SerializeToString()
    with on_device(cuda):
        Compiled(serialized, device=cuda, captured=True)
