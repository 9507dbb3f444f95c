"""Every program has CUDA kernels, and those of fixed shapes can be captured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto
from tests.server.programs.cuda_kernels import (
    check_capturable,
    check_kernels,
    check_no_hops,
    optimized,
)
from tests.server.tiny_cell import SYMBOLS, lstm_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.server.programs.beam_program import BeamProgram, compose_beam_program
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program
from cellwire.server.programs.transfer_program import compose_read, compose_write, compose_zeros
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS


@pytest.fixture(scope="module")
def unknown_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cell with a symbol that is not written."""
    vocabulary = {"kind": "words", "symbols": [*SYMBOLS], "unknown": "q"}
    path = tmp_path_factory.mktemp("models") / "unknown.onnx"
    return write_cell(path, lstm_cell(vocabulary=vocabulary))


@pytest.mark.parametrize("variant", SamplerVariant)
@pytest.mark.parametrize("steps", SUPPORTED_STEPS)
@pytest.mark.parametrize("ragged", [False, True])
def test_a_program_of_a_fixed_shape_can_be_captured(
    path: Path,
    unknown_path: Path,
    tmp_path: Path,
    variant: SamplerVariant,
    steps: int,
    ragged: bool,  # noqa: FBT001
) -> None:
    cell = read_cell(unknown_path if steps == 1 else path)
    shape = ProgramShape(steps, 4 if variant.ranks_tokens else 0)
    model = optimized(compose_step_program(cell, variant, shape, ragged=ragged), tmp_path)
    check_capturable(model)
    inputs = {value.name: value.type.tensor_type.elem_type for value in model.graph.input}
    uploads = [name for name in inputs if "arena" not in name and "change" not in name]
    assert len(uploads) <= 2, "more copies than needed"


@pytest.mark.parametrize("may_end", [False, True])
def test_searches_and_transfers_have_kernels(
    unknown_path: Path,
    tmp_path: Path,
    may_end: bool,  # noqa: FBT001
) -> None:
    cell = read_cell(unknown_path)
    for serialized in (
        compose_beam_program(cell, BeamProgram(may_end)),
        compose_read(cell),
        compose_write(cell),
        compose_zeros(),
    ):
        check_kernels(optimized(serialized, tmp_path))


@pytest.mark.parametrize("may_end", [False, True])
@pytest.mark.parametrize("steps", SUPPORTED_STEPS)
def test_a_cards_searches_compute_nothing_on_the_host(
    unknown_path: Path,
    tmp_path: Path,
    steps: int,
    may_end: bool,  # noqa: FBT001
) -> None:
    serialized = compose_beam_program(read_cell(unknown_path), BeamProgram(may_end, steps))
    check_no_hops(optimized(serialized, tmp_path))


def test_unrolled_steps_rename_what_a_cells_own_control_flow_reads(tmp_path: Path) -> None:
    """A cell may have an If: the outer values that it reads have another name in each step."""
    cell = lstm_cell(5)
    path = write_cell(tmp_path / "cell.onnx", cell)
    model = onnx.load(path)
    (output,) = [n for n in model.graph.node if "next_state.h" in n.output]
    output.output[:] = ["h.before" if name == "next_state.h" else name for name in output.output]
    for node in model.graph.node:
        node.input[:] = ["h.before" if name == "next_state.h" else name for name in node.input]
    branch = [
        onnx.helper.make_graph(
            [onnx.helper.make_node("Identity", ["h.before"], [f"{name}.out"])],
            name,
            [],
            [onnx.helper.make_tensor_value_info(f"{name}.out", TensorProto.FLOAT, ["batch", 5])],
        )
        for name in ("then", "else")
    ]
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.ones((), np.bool_), "yes"))
    model.graph.node.append(
        onnx.helper.make_node(
            "If", ["yes"], ["next_state.h"], then_branch=branch[0], else_branch=branch[1]
        )
    )
    onnx.save(model, tmp_path / "if.onnx")
    serialized = compose_step_program(
        read_cell(tmp_path / "if.onnx"), SamplerVariant.PLAIN, ProgramShape(4, 0)
    )
    onnx.checker.check_model(onnx.load_model_from_string(serialized), full_check=True)
