"""Weights are held once for all programs, and the numbers are those of programs that hold them."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from tests.cases.models import SYMBOLS, constant, node, recurrent, saved, value
from tests.server.program_runs import batch_of
from tests.server.tiny_cell import CellWriter

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.batch.beam_step import BeamInput
from cellwire.server.batch.beam_step import batch_of as beams_of
from cellwire.server.batch.completion_end import MAX_LENGTH_ONLY
from cellwire.server.batch.step import SAMPLED
from cellwire.server.errors import NotCompiled
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program
from cellwire.server.runtime import compiled, compiled_programs
from cellwire.server.runtime.compiled import Compiled, Constant
from cellwire.server.runtime.constant_folding import LARGE_BYTES, fold_constants, tensor_bytes
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.memory import Memory
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.runtime.weights import Weights

WIDTH = 32
ROWS, SLOTS = 6, 20

Random = np.random.Generator


def matrix(random: Random, *shape: int) -> np.ndarray:
    return random.normal(size=shape or (WIDTH, WIDTH)).astype(np.float32) / 6


def product_with(*nodes: onnx.NodeProto) -> CellWriter:
    """A cell in which nodes make a constant k, which is multiplied with the state."""
    return recurrent([*nodes, node("MatMul", ["state.h", "k"], "s")], width=WIDTH)


def transposed(random: Random) -> CellWriter:
    cell = product_with(node("Transpose", ["w"], "k", perm=[1, 0]))
    constant(cell, "w", matrix(random))
    return cell


def widened(random: Random) -> CellWriter:
    cell = product_with(node("Cast", ["w"], "half"), node("Cast", ["half"], "k"))
    cell.nodes[1].attribute.append(helper.make_attribute("to", TensorProto.FLOAT16))
    cell.nodes[2].attribute.append(helper.make_attribute("to", TensorProto.FLOAT))
    constant(cell, "w", matrix(random))
    return cell


def in_a_node(random: Random) -> CellWriter:
    tensor = numpy_helper.from_array(matrix(random).reshape(-1), "w")
    shape = numpy_helper.from_array(np.array([WIDTH, -1]), "shape")
    return product_with(
        node("Constant", [], "w", value=tensor),
        node("Constant", [], "shape", value=shape),
        node("Reshape", ["w", "shape"], "k"),
    )


def read_twice(random: Random) -> CellWriter:
    """As it is stored, and transposed."""
    cell = recurrent(
        [
            node("Transpose", ["w"], "t", perm=[1, 0]),
            node("MatMul", ["state.h", "w"], "one"),
            node("MatMul", ["one", "t"], "s"),
        ],
        width=WIDTH,
    )
    constant(cell, "w", matrix(random))
    return cell


def equal_twice(random: Random) -> CellWriter:
    cell = recurrent(
        [node("MatMul", ["state.h", "w"], "one"), node("MatMul", ["one", "same"], "s")], width=WIDTH
    )
    constant(cell, "w", matrix(random))
    constant(cell, "same", numpy_helper.to_array(cell.constants[-1]))
    return cell


def of_other_types(random: Random) -> CellWriter:
    """A table of whole numbers, one of flags, one of bytes, and numbers without dimensions."""
    cell = recurrent(
        [
            node("Gather", ["whole", "token"], "numbers"),
            node("Cast", ["numbers"], "as_float", to=TensorProto.FLOAT),
            node("Gather", ["flags", "token"], "flag"),
            node("Where", ["flag", "as_float", "nought"], "chosen"),
            node("Gather", ["bytes", "token"], "byte"),
            node("Cast", ["byte"], "byte_as_float", to=TensorProto.FLOAT),
            node("Mul", ["byte_as_float", "small"], "little"),
            node("Add", ["chosen", "little"], "both"),
            node("Mul", ["both", "small"], "less"),
            node("Add", ["less", "state.h"], "s"),
        ],
        width=WIDTH,
    )
    shape = len(SYMBOLS), WIDTH
    constant(cell, "whole", random.integers(0, 9, shape), np.int64)
    constant(cell, "flags", random.random((len(SYMBOLS) * 9, WIDTH)) < 0.5, np.bool_)
    constant(cell, "bytes", random.integers(-9, 9, (len(SYMBOLS) * 9, WIDTH)), np.int8)
    constant(cell, "nought", 0)
    constant(cell, "small", 0.01)
    return cell


def looked_up(random: Random) -> CellWriter:
    """A row of a table, always the same."""
    cell = recurrent(
        [node("Gather", ["w", "place"], "row"), node("Add", ["row", "state.h"], "s")], width=WIDTH
    )
    constant(cell, "w", matrix(random))
    constant(cell, "place", [3], np.int64)
    return cell


def in_a_branch(random: Random) -> CellWriter:
    """One branch has a weight itself, the other one reads an outer one that is transposed."""
    own = helper.make_graph(
        [node("MatMul", ["state.h", "own"], "then.out")],
        "then",
        [],
        [value("then.out", "batch", WIDTH)],
        [numpy_helper.from_array(matrix(random), "own")],
    )
    outer = helper.make_graph(
        [node("MatMul", ["state.h", "t"], "else.out")],
        "else",
        [],
        [value("else.out", "batch", WIDTH)],
    )
    cell = recurrent(
        [
            node("ReduceMax", ["token"], "greatest", keepdims=0),
            node("Less", ["greatest", "limit"], "low"),
            node("Transpose", ["w"], "t", perm=[1, 0]),
            node("If", ["low"], "s", then_branch=own, else_branch=outer),
        ],
        width=WIDTH,
    )
    constant(cell, "limit", 5, np.int64)
    constant(cell, "w", matrix(random))
    return cell


def quantised(random: Random) -> CellWriter:
    """ONNX Runtime multiplies such numbers as they are stored, in 8 bits."""
    rounded = "unit", "middle"
    cell = recurrent(
        [
            node("QuantizeLinear", ["state.h", *rounded], "q"),
            node("DequantizeLinear", ["q", *rounded], "d"),
            node("DequantizeLinear", ["w", "unit", "nought"], "k"),
            node("MatMul", ["d", "k"], "product"),
            node("QuantizeLinear", ["product", *rounded], "p"),
            node("DequantizeLinear", ["p", *rounded], "s"),
        ],
        width=WIDTH,
    )
    constant(cell, "w", random.integers(-9, 9, (WIDTH, WIDTH)), np.int8)
    constant(cell, "unit", 0.01)
    constant(cell, "middle", 128, np.uint8)
    constant(cell, "nought", 0, np.int8)
    return cell


SHARED = (
    transposed,
    widened,
    in_a_node,
    read_twice,
    equal_twice,
    of_other_types,
    looked_up,
    in_a_branch,
    quantised,
)


def convolved(random: Random) -> CellWriter:
    """ONNX Runtime orders a convolution's weights anew when it compiles a program."""
    cell = recurrent(
        [
            node("Reshape", ["state.h", "by_channel"], "channels"),
            node("Conv", ["channels", "w"], "c", pads=[1, 1, 1, 1]),
            node("Reshape", ["c", "by_row"], "s"),
        ],
        width=WIDTH,
    )
    constant(cell, "w", matrix(random, 16, 16, 3, 3))
    constant(cell, "by_channel", [-1, 16, 1, 2], np.int64)
    constant(cell, "by_row", [-1, WIDTH], np.int64)
    return cell


def normalised(random: Random) -> CellWriter:
    """It multiplies a matrix with what normalises the product."""
    numbers = ("scale", "bias", "mean", "variance")
    cell = recurrent(
        [
            node("MatMul", ["state.h", "w"], "product"),
            node("BatchNormalization", ["product", *numbers], "s"),
        ],
        width=WIDTH,
    )
    constant(cell, "w", matrix(random))
    for name in numbers:
        constant(cell, name, random.uniform(1, 2, WIDTH))
    return cell


REWRITTEN = convolved, normalised


def read_by_a_dequantiser(random: Random) -> CellWriter:
    """ONNX Runtime fails if the node in a loop reads a constant from outside."""
    cell = product_with(
        node("Cast", ["w"], "eighth", to=TensorProto.FLOAT8E4M3FN),
        node("DequantizeLinear", ["eighth", "unit"], "k"),
    )
    constant(cell, "w", matrix(random))
    constant(cell, "unit", 0.5)
    return cell


def cell_of(make: Callable[[Random], CellWriter], folder: Path) -> Cell:
    return read_cell(saved(make(np.random.default_rng(1)), folder / "cell.onnx"))


def numbers_of(runtime: Runtime) -> list[np.ndarray]:
    """What runs of some programs give, and the states after them."""
    random = np.random.default_rng(2)
    columns = {
        "token": random.integers(0, len(SYMBOLS), ROWS),
        "uniform": random.random((4, ROWS)),
        "count": np.full(ROWS, 4),
        "forced": np.full((4, ROWS), SAMPLED),
        "write_slot": np.arange(ROWS) + 2,
    }
    plain = runtime.step(batch_of(ROWS, **columns))
    greedy = runtime.step(batch_of(ROWS, **columns | {"top_k": np.ones(ROWS)}))
    found = [array for r in (plain, greedy) for array in (r.chosen, r.log_probability)]
    search = BeamInput((1, 2), (2, 3), (4, 5), (0.0, 0.0), 0, (False, False), MAX_LENGTH_ONLY)
    beams = runtime.step_beams(beams_of([search], steps=2))
    return [*found, beams.log_probability, runtime.state("h").copy()]


@pytest.mark.parametrize("make", [*SHARED, *REWRITTEN, read_by_a_dequantiser])
@pytest.mark.parametrize("fixed_shape", [False, True])
def test_shared_weights_give_the_numbers_of_weights_in_each_program(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    make: Callable[[Random], CellWriter],
    fixed_shape: bool,  # noqa: FBT001
) -> None:
    cell = cell_of(make, tmp_path)
    execution = Execution(fixed_shape=fixed_shape)
    found = numbers_of(Runtime(cell, SLOTS, ROWS, execution))
    monkeypatch.setattr(Weights, "shared", lambda cell, _: Weights(cell))
    for one, other in zip(found, numbers_of(Runtime(cell, SLOTS, ROWS, execution)), strict=True):
        assert one.tobytes() == other.tobytes()


@pytest.mark.parametrize("make", SHARED)
def test_no_program_holds_a_large_constant(
    tmp_path: Path, make: Callable[[Random], CellWriter]
) -> None:
    cell = Runtime(cell_of(make, tmp_path), SLOTS, ROWS).cell
    flags = {"flags"}  # DLPack has no numbers of one bit
    large = {t.name for t in cell.graph.graph.initializer if tensor_bytes(t) >= LARGE_BYTES}
    held = {t.name for t in cell.graph.graph.initializer if t.HasField("raw_data")}
    assert not large & held - flags
    program = compose_step_program(cell, SamplerVariant.PLAIN)
    assert len(program) < 20_000 + (make is of_other_types) * len(SYMBOLS) * 9 * WIDTH


@pytest.mark.parametrize("make", REWRITTEN)
def test_weights_that_onnx_runtime_rewrites_stay_in_the_programs(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, make: Callable[[Random], CellWriter]
) -> None:
    """A program with other numbers would be refused, not computed: it knows the constant's name."""
    cell = cell_of(make, tmp_path)
    assert Runtime(cell, SLOTS, ROWS, Execution(fixed_shape=True)).cell.graph is cell.graph
    assert "each program of cell.onnx holds its weights: cannot be run" in caplog.text
    weights = Weights.shared(cell, Memory())
    program = compose_step_program(weights.cell, SamplerVariant.PLAIN, ProgramShape(1, 0))
    with pytest.raises(ValueError, match="initializer: w "):
        Compiled(program, constants=weights.constants, quiet=True)


class SharedUntil(Compiled):
    """Compiles so many programs with constants, and refuses others."""

    left = 0

    def __init__(self, *given: Any, constants: dict[str, Constant] | None, **named: Any) -> None:  # noqa: ANN401
        if constants:
            if SharedUntil.left == 0:
                raise ValueError("its constants cannot be shared")
            SharedUntil.left -= 1
        super().__init__(*given, constants=constants, **named)


def test_programs_from_one_on_that_cannot_share_weights_hold_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    cell = cell_of(transposed, tmp_path)
    expected = numbers_of(Runtime(cell, SLOTS, ROWS))
    monkeypatch.setattr(compiled_programs, "Compiled", SharedUntil)
    monkeypatch.setattr(SharedUntil, "left", 2)
    runtime = Runtime(cell, SLOTS, ROWS)
    for one, other in zip(numbers_of(runtime), expected, strict=True):
        assert one.tobytes() == other.tobytes()
    (line,) = caplog.messages
    assert line == (
        "each further program of cell.onnx holds its weights: "
        "cannot be run: its constants cannot be shared"
    )
    runtime.close()


def test_a_program_without_room_for_weights_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runtime = Runtime(cell_of(transposed, tmp_path), SLOTS, ROWS)

    def no_room(_: Weights) -> Weights:
        raise MemoryError

    monkeypatch.setattr(Weights, "embedded", no_room)
    monkeypatch.setattr(compiled_programs, "Compiled", SharedUntil)
    monkeypatch.setattr(SharedUntil, "left", 0)
    with pytest.raises(NotCompiled):
        runtime.step(batch_of(ROWS, top_k=np.full(ROWS, 3)))
    runtime.step(batch_of(ROWS))


def test_a_program_that_cannot_be_compiled_prints_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    Runtime(cell_of(convolved, tmp_path), SLOTS, ROWS).close()
    assert capfd.readouterr().err == ""


def test_a_constant_is_given_back_with_the_last_that_uses_it() -> None:
    """DLPack passes the array on; when its value is dropped, nothing holds it."""
    values = np.ones(1000, np.float32)
    gone = weakref.ref(values)
    value = compiled.constant(values)
    del values
    assert gone() is not None
    value.close()
    assert gone() is None


def test_a_model_whose_constants_are_read_as_stored_is_not_copied(tmp_path: Path) -> None:
    model = cell_of(equal_twice, tmp_path).graph
    assert fold_constants(model) is model


def test_what_the_cell_returns_is_not_folded() -> None:
    """No node may take the name of an output from the graph."""
    model = transposed(np.random.default_rng(1)).model()
    model.graph.output.append(value("k", WIDTH, WIDTH))
    assert fold_constants(model) is model


def test_random_numbers_are_not_folded() -> None:
    cell = product_with(node("RandomNormalLike", ["w"], "k"))
    constant(cell, "w", matrix(np.random.default_rng(1)))
    model = cell.model()
    assert fold_constants(model) is model


@pytest.mark.parametrize(
    "part",
    [
        [node("Reshape", ["w", "seven"], "k")],  # fails
        [node("SequenceConstruct", ["w"], "many"), node("SequenceAt", ["many", "nought"], "k")],
    ],
)
def test_what_cannot_be_folded_is_left(part: list[onnx.NodeProto]) -> None:
    cell = product_with(*part)
    constant(cell, "w", matrix(np.random.default_rng(1)))
    constant(cell, "seven", [7, 7], np.int64)
    constant(cell, "nought", 0, np.int64)
    model = cell.model()
    folded = fold_constants(model)
    assert folded is model or {n.op_type for n in folded.graph.node}.isdisjoint({"SequenceAt"})
