"""On a CUDA card: results as on the CPU to 1e-5, and exact between runs on the card."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper
from tests.server.program_runs import adjustments_of, batch_of
from tests.server.tiny_cell import SYMBOLS, labelled_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.model_file.errors import BadModel
from cellwire.server.batch.beam_step import BeamBatch
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.batch.sampling import Sampling
from cellwire.server.batch.slots import TRASH, ZERO
from cellwire.server.batch.step import SAMPLED, StepBatch
from cellwire.server.engine.commands import OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.host.config import Config
from cellwire.server.host.placement import Placement
from cellwire.server.host.registry import Registry
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.cuda import Card
from cellwire.server.runtime.device import CPU, Device, Execution
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.events import Closed, Event, Rejected, Written
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import Append, Complete, Generate, Rewind
from cellwire.server.state.arena import Arena

pytestmark = pytest.mark.gpu

SLOTS, MOST = 64, 32
CLOSE = 1e-5


def on(device: Device, *, fixed_batch: bool = False) -> Execution:
    return Execution.on(device, threads=1, fixed_batch=fixed_batch)


def states(runtime: Runtime) -> npt.NDArray[np.float32]:
    """All rows of both parts, `[slots, 2 * hidden]`."""
    rows = (b"".join(runtime.read_state(slot)) for slot in range(SLOTS))
    return np.stack([np.frombuffer(row, "<f4") for row in rows])


def drawn(seed: int, rows: int, steps: int, **columns: object) -> StepBatch:
    random = np.random.default_rng(seed)
    columns = {
        "read_slot": random.integers(ZERO, SLOTS, rows),
        "write_slot": random.permutation(np.arange(2, SLOTS))[:rows],
        "count": random.integers(1, steps + 1, rows),
        "forced": random.integers(-6, len(SYMBOLS), (steps, rows)).clip(min=SAMPLED),
        **columns,
    }
    return batch_of(
        rows,
        token=random.integers(0, len(SYMBOLS), rows),
        uniform=random.integers(0, 2**23, (steps, rows)) * 2.0**-23,
        inverse_temperature=random.uniform(0.2, 5, rows),
        **columns,
    )


@pytest.mark.parametrize("steps", SUPPORTED_STEPS)
def test_results_are_those_of_the_cpu(cell: Cell, cuda: Device, steps: int) -> None:
    """Tokens are forced: a draw on the edge of two may fall on either side."""
    here, there = (Runtime(cell, SLOTS, MOST, on(device)) for device in (CPU, cuda))
    for seed in range(5):
        rows = 1 + 7 * seed
        forced = np.random.default_rng(seed).integers(0, len(SYMBOLS), (steps, rows))
        batch = drawn(seed, rows, steps, forced=forced)
        expected, found = here.step(batch), there.step(batch)
        taken = np.arange(steps)[:, None] < batch.count
        assert (found.chosen == expected.chosen)[taken].all()
        apart = np.abs(found.log_probability - expected.log_probability)[taken]
        assert apart.max() <= CLOSE
    assert np.abs(states(here) - states(there)).max() <= CLOSE


@pytest.mark.parametrize("kind", ["temperature", "top_k", "ranked", "adjusted"])
def test_every_sampler_draws_what_the_cpu_draws(cell: Cell, cuda: Device, kind: str) -> None:
    """Except for draws on the edge of two tokens, which are rare."""
    here, there = (Runtime(cell, SLOTS, MOST, on(device)) for device in (CPU, cuda))
    same = 0
    for seed in range(20):
        batch = drawn(seed, MOST, 1, read_slot=np.full(MOST, ZERO), forced=[[SAMPLED] * MOST])
        if kind != "temperature":
            batch = replace(batch, top_k=np.arange(MOST) % 9 + (kind == "top_k"))
        if kind == "ranked":
            batch = replace(batch, top_token_count=3)
        if kind == "adjusted":
            changes = [(row, 3, 1.5, 0.5) for row in range(MOST)]
            adjustments = adjustments_of(
                MOST, changes, top_p=np.full(MOST, 0.8), min_p=np.full(MOST, 0.01)
            )
            batch = replace(batch, adjustments=adjustments)
        same += int((here.step(batch).chosen == there.step(batch).chosen).sum())
    assert same >= 0.99 * 20 * MOST


def test_a_graph_replayed_is_the_program_run(cell: Cell, cuda: Device) -> None:
    plain, replayed = (
        Runtime(cell, SLOTS, MOST, replace(on(cuda), captured=captured))
        for captured in (False, True)
    )
    for seed in range(20):
        batch = drawn(seed, 1 + seed % MOST, SUPPORTED_STEPS[seed % 3])
        expected, found = plain.step(batch), replayed.step(batch)
        taken = np.arange(batch.steps)[:, None] < batch.count
        assert (found.chosen == expected.chosen)[taken].all()
        assert (found.log_probability == expected.log_probability)[taken].all()
    assert (states(plain)[2:] == states(replayed)[2:]).all()


def test_capture_leaves_all_states_as_they_are(cell: Cell, cuda: Device) -> None:
    runtime = Runtime(cell, SLOTS, MOST, on(cuda))
    random = np.random.default_rng(1)
    for slot in range(2, SLOTS):
        part = [random.normal(size=64).astype("<f4").tobytes() for _ in range(2)]
        runtime.write_state(slot, tuple(part))
    before = states(runtime)
    # Each batch is the first of its size; its rows write the trash slot.
    for rows in (1, 2, 5, 30):
        for steps in SUPPORTED_STEPS:
            runtime.step(drawn(rows, rows, steps, write_slot=np.full(rows, TRASH)))
    after = states(runtime)
    assert (after[2:] == before[2:]).all()
    assert (after[ZERO] == 0).all()


def test_a_run_changes_only_the_slots_it_writes(cell: Cell, cuda: Device) -> None:
    runtime = Runtime(cell, SLOTS, MOST, on(cuda))
    runtime.step(drawn(1, MOST, 4))
    before = states(runtime)
    batch = drawn(2, 3, 4)
    runtime.step(batch)
    changed = np.flatnonzero((states(runtime) != before).any(axis=1))
    assert set(changed) <= {TRASH, *batch.write_slot.tolist()}
    assert set(batch.write_slot.tolist()) <= set(changed)


def test_batched_is_alone_with_a_fixed_batch(cell: Cell, cuda: Device) -> None:
    together, apart = (Runtime(cell, SLOTS, MOST, on(cuda, fixed_batch=True)) for _ in range(2))
    batch = drawn(3, MOST, 16, read_slot=np.full(MOST, ZERO))
    whole = together.step(batch)
    for row in range(MOST):
        found = apart.step(of_row(batch, row))
        count = int(batch.count[row])
        assert (found.chosen[:count, 0] == whole.chosen[:count, row]).all()
        assert (found.log_probability[:count, 0] == whole.log_probability[:count, row]).all()
    assert (states(together)[2:] == states(apart)[2:]).all()


def of_row(batch: StepBatch, row: int) -> StepBatch:
    columns: dict[str, Any] = {
        name: getattr(batch, name)[..., row : row + 1]
        for name in StepBatch.__slots__
        if isinstance(getattr(batch, name), np.ndarray)
    }
    return replace(batch, **columns)


def test_searches_find_what_the_cpu_finds(cell: Cell, cuda: Device) -> None:
    here, there = (Runtime(cell, SLOTS, MOST, on(device)) for device in (CPU, cuda))
    dead = -np.inf
    for endings in ((CompletionEnd(),) * 2, (CompletionEnd(frozenset({1, 2})),) * 2):
        batch = BeamBatch(
            steps=6,
            token=np.array([[3, 3, 3], [5, 5, 5]]),
            read_slot=np.full((2, 3), ZERO),
            write_slot=np.arange(2, 8).reshape(2, 3),
            log_probability=np.array([[0, dead, dead]] * 2, np.float64),
            greedy=np.zeros(2, np.int64),
            may_end=np.ones((2, 3), np.bool_),
            endings=endings,
        )
        expected, found = here.step_beams(batch), there.step_beams(batch)
        assert (found.token == expected.token).all()
        assert (found.parent == expected.parent).all()
        alive = np.isfinite(expected.log_probability)
        assert np.abs(found.log_probability - expected.log_probability)[alive].max() <= CLOSE
        assert (found.greedy == expected.greedy).all()
    assert np.abs(states(here)[2:8] - states(there)[2:8]).max() <= CLOSE


def test_scores_are_those_of_the_cpu(tmp_path: Path, cuda: Device) -> None:
    cell = read_cell(write_cell(tmp_path / "labels.onnx", labelled_cell()))
    here, there = (Runtime(cell, SLOTS, MOST, on(device)) for device in (CPU, cuda))
    batch = drawn(1, 5, 4, forced=np.full((4, 5), 2), count=np.full(5, 4))
    expected, found = here.step(batch).scores, there.step(batch).scores
    assert expected is not None
    assert found is not None
    assert np.abs(found - expected).max() <= CLOSE


def written(engine: Engine) -> dict[str, list[int]]:
    """Let every session read, write, go back, be completed, and write again; what they wrote."""
    events: list[Event] = []
    for n in range(12):
        engine.handle(OpenSession(str(n), 0, n, 20))
    for operation in (
        lambda n: Append(1, np.arange(n + 2, dtype=np.uint32) % 10),
        lambda n: Generate(2, 40, Sampling(seed=n)),
        lambda _: Rewind(3, tokens=7),
        lambda _: Complete(4, 3, 2, 4),
        lambda n: Generate(5, 9, Sampling(seed=n)),
    ):
        for n in range(12):
            engine.handle(SubmitOperation(str(n), operation(n)))
            while not engine.idle:
                events += engine.step()
    engine.check_integrity()
    assert not any(isinstance(event, Rejected | Closed) for event in events)
    texts: dict[str, list[int]] = {}
    for event in events:
        if isinstance(event, Written):
            texts.setdefault(event.session_id, []).extend(event.tokens)
    return texts


def test_parked_sessions_go_on_as_if_they_had_not_been(cell: Cell, cuda: Device) -> None:
    def engine(slots: int) -> Engine:
        arena = Arena(slots)
        runtime = Runtime(cell, arena.slots, MOST, on(cuda, fixed_batch=True))
        limits = Limits(read_ahead_tokens=1_000)
        return Engine(runtime, arena, limits, max_sessions=99, max_batch=MOST)

    assert written(engine(24)) == written(engine(1_000))


def test_a_model_without_room_for_its_states_is_refused_and_others_run_on(
    cell: Cell, card: Card, cuda: Device
) -> None:
    running = Runtime(cell, SLOTS, MOST, on(cuda))
    before = running.step(drawn(1, 4, 4))
    too_many = card.total_bytes // cell.state_bytes + 1
    config = Config(models=(cell.path,), max_slots=too_many, provider="cuda")
    with pytest.raises(BadModel, match="there is no memory for"):
        Registry(config, Placement(cuda, ""), lambda *_: None, lambda _: None)
    after = running.step(drawn(1, 4, 4, read_slot=np.full(4, ZERO)))
    assert before.chosen.shape == after.chosen.shape
    assert np.isfinite(after.log_probability).all()


def test_an_operator_without_a_cuda_kernel_is_an_error(cuda: Device) -> None:
    node = helper.make_node("Det", ["in"], ["out"])
    square = helper.make_tensor_value_info("in", TensorProto.FLOAT, [2, 2])
    number = helper.make_tensor_value_info("out", TensorProto.FLOAT, [])
    graph = helper.make_graph([node], "det", [square], [number])
    model: onnx.ModelProto = helper.make_model(
        graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)]
    )
    Compiled(model.SerializeToString(), device=cuda)
    with pytest.raises(ValueError, match="CPU"):
        Compiled(model.SerializeToString(), device=cuda, captured=True)
