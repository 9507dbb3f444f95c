"""Arenas are updated in place: whatever the cell, each is read before it is written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.server.program_runs import SLOTS, batch_of, one_step
from tests.server.programs.cuda_kernels import optimized
from tests.server.tiny_cell import CellWriter, lstm_cell, previous_token_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.slots import ZERO
from cellwire.server.programs.beam_program import BeamProgram, compose_beam_program
from cellwire.server.programs.graph import Graph
from cellwire.server.programs.program import ARENA, NEXT_ARENA
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.runtime import Runtime


def shape_cell() -> CellWriter:
    """A state that another state reads; its next one reads its width only, which is known."""
    cell = CellWriter()
    shown, hidden = cell.state("shown", cell.size), cell.state("hidden", 4)
    cell.nodes.append(onnx.helper.make_node("Shape", [hidden], ["width"], start=1))
    cell.node("ConstantOfShape", ["width"], "zeros")
    cell.node("Gather", [cell.weights("table", cell.size, 4), "token"], "row")
    cell.node("Add", ["row", "zeros"], "next_state.hidden")
    cell.node("MatMul", [hidden, cell.weights("mix", 4, cell.size)], "mixed")
    cell.node("Add", ["mixed", "mixed"], "next_state.shown")
    cell.node("Tanh", [shown], "logits")
    return cell


CELLS: dict[str, Callable[[], CellWriter]] = {
    "lstm": lstm_cell,
    "previous token": previous_token_cell,
    "shape": shape_cell,
}


def check_order(model: onnx.ModelProto) -> None:
    """Check that what is written to an arena depends on every value that was read from it."""
    producers = {name: node for node in model.graph.node for name in node.output}

    def sources(name: str, seen: set[str]) -> set[str]:
        if name not in seen:
            seen.add(name)
            for source in producers[name].input if name in producers else ():
                sources(source, seen)
        return seen

    readers = {
        node.input[0]: node.output[0] for node in model.graph.node if node.op_type == "Gather"
    }
    for name, node in producers.items():
        if name.startswith(NEXT_ARENA):
            read = readers.get(ARENA + name.removeprefix(NEXT_ARENA))
            assert read is None or read in sources(node.input[2], set()), f"{name} may come first"


@pytest.mark.parametrize("ragged", [False, True])
@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("variant", [SamplerVariant.FORCED, SamplerVariant.PLAIN])
@pytest.mark.parametrize("name", CELLS)
def test_a_write_depends_on_the_read(
    tmp_path: Path,
    name: str,
    variant: SamplerVariant,
    steps: int,
    ragged: bool,  # noqa: FBT001
) -> None:
    cell = read_cell(write_cell(tmp_path / "cell.onnx", CELLS[name]()))
    program = compose_step_program(cell, variant, ProgramShape(steps, 0), ragged=ragged)
    check_order(optimized(program, tmp_path))


@pytest.mark.parametrize("steps", [1, 4])
@pytest.mark.parametrize("name", CELLS)
def test_a_searchs_write_depends_on_the_read(tmp_path: Path, name: str, steps: int) -> None:
    cell = read_cell(write_cell(tmp_path / "cell.onnx", CELLS[name]()))
    program = compose_beam_program(cell, BeamProgram(may_end=True, steps=steps))
    check_order(optimized(program, tmp_path))


@pytest.mark.parametrize("fixed_shape", [False, True])
def test_a_state_that_ignores_itself_is_read_before_it_is_written(
    tmp_path: Path,
    fixed_shape: bool,  # noqa: FBT001
) -> None:
    cell = read_cell(write_cell(tmp_path / "p.onnx", previous_token_cell()))
    runtime = Runtime(cell, SLOTS, 32, Execution(fixed_shape=fixed_shape))
    slots, tokens = np.arange(2, 34), np.arange(32) % 30
    columns = {"write_slot": slots, "top_k": np.ones(32)}
    one_step(runtime, batch_of(32, token=tokens, read_slot=np.full(32, ZERO), **columns))
    result = one_step(runtime, batch_of(32, token=(tokens + 9) % 30, read_slot=slots, **columns))
    assert (result.chosen == tokens).all()


def test_a_shape_is_no_dependence() -> None:
    """It may be known when the graph is compiled."""
    graph = Graph("graph")
    shape = graph.add("Shape", "x")
    zeros = graph.add("ConstantOfShape", shape)
    assert not graph.depends(zeros, on="x")
    assert graph.depends(graph.add("Add", zeros, "x"), on="x")
