"""The kernels of each program of model L on a card: their number may fall, and not grow."""

from __future__ import annotations

import onnx
import pytest
from onnx import TensorProto, helper
from tests.bench.models import Models
from tests.bench.nodes import node_count

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.programs.graph import Graph
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program

LIMIT = 4

# By steps: in which every row takes every step, and ragged ones.
MOST_NODES = {
    SamplerVariant.FORCED: {1: (39, 44), 4: (121, 139), 16: (445, 511)},
    SamplerVariant.PLAIN: {1: (51, 56), 4: (165, 183), 16: (609, 675)},
    SamplerVariant.TOP_K: {1: (58, 63), 4: (190, 208), 16: (706, 772)},
    SamplerVariant.RANKING: {1: (71, 76), 4: (231, 249), 16: (867, 933)},
    SamplerVariant.ADJUSTED: {1: (68, 73), 4: (221, 239), 16: (821, 887)},
    SamplerVariant.ADJUSTED_TOP_K: {1: (90, 95), 4: (303, 321), 16: (1143, 1209)},
    SamplerVariant.ADJUSTED_RANKING: {1: (93, 98), 4: (303, 321), 16: (1143, 1209)},
    SamplerVariant.TOP_P: {1: (112, 117), 4: (379, 397), 16: (1435, 1501)},
    SamplerVariant.TOP_P_TOP_K: {1: (134, 139), 4: (461, 479), 16: (1757, 1823)},
    SamplerVariant.TOP_P_RANKING: {1: (137, 142), 4: (461, 479), 16: (1757, 1823)},
}


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return read_cell(Models(tmp_path_factory.mktemp("models")).path("L"))


@pytest.mark.slow
@pytest.mark.parametrize("variant", SamplerVariant)
def test_a_program_has_no_more_nodes_than_it_had(cell: Cell, variant: SamplerVariant) -> None:
    limit = LIMIT if variant.ranks_tokens else 0
    for steps, most in MOST_NODES[variant].items():
        shape = ProgramShape(steps, limit)
        counts = (
            node_count(compose_step_program(cell, variant, shape, ragged=ragged))
            for ragged in (False, True)
        )
        assert all(count <= bound for count, bound in zip(counts, most, strict=True)), steps


def counted(*nodes: onnx.NodeProto, constants: list[onnx.TensorProto] | None = None) -> int:
    """The nodes of a graph from x[40, 4] to the outputs of its last node."""
    outputs = [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in nodes[-1].output]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [40, 4])
    graph = helper.make_graph(nodes, "count", [x], outputs, constants)
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    return node_count(model.SerializeToString())


def split(parts: int, axis: int, *sizes: int) -> int:
    names = [f"part.{part}" for part in range(parts)]
    if not sizes:
        return counted(helper.make_node("Split", ["x"], names, axis=axis, num_outputs=parts))
    lengths = helper.make_tensor("sizes", TensorProto.INT64, [parts], sizes)
    return counted(helper.make_node("Split", ["x", "sizes"], names, axis=axis), constants=[lengths])


def test_unequal_parts_cost_copies_and_so_do_many() -> None:
    assert split(4, 0) == 1
    assert split(40, 0) == 2
    assert split(2, 0, 10, 30) == 5
    assert split(2, 0, 20, 20) == 1
    assert split(2, 1, 1, 3) == 1, "the inner axis"


def test_an_operator_that_moves_nothing_counts_as_a_copy_to_an_output_only() -> None:
    double = helper.make_node("Add", ["x", "x"], ["double"])
    flat = helper.make_node("Flatten", ["double"], ["flat"])
    assert counted(double) == 1
    identity = helper.make_node("Squeeze", ["double"], ["same"])
    assert counted(double, identity) == 2
    assert counted(double, identity, helper.make_node("Tanh", ["same"], ["y"])) == 2
    assert counted(double, flat) == 2


def test_a_gemm_with_an_addend_counts_twice() -> None:
    weights = [helper.make_tensor("w", TensorProto.FLOAT, [4, 1], [1.0] * 4)]
    weights.append(helper.make_tensor("b", TensorProto.FLOAT, [1], [1.0]))
    assert counted(helper.make_node("Gemm", ["x", "w"], ["y"]), constants=weights) == 1
    assert counted(helper.make_node("Gemm", ["x", "w", "b"], ["y"]), constants=weights) == 2


def test_control_flow_cannot_be_counted(cell: Cell) -> None:
    with pytest.raises(ValueError, match="Loop"):
        node_count(compose_step_program(cell, SamplerVariant.FORCED))


def test_one_part_is_the_whole() -> None:
    graph = Graph("one")
    graph.split("x", ["part"])
    assert graph.concat(["part"], axis=0, name="whole") == "whole"
    assert [node.op_type for node in graph.nodes] == ["Identity", "Identity"]
