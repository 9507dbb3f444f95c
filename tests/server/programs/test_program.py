"""The step program: states in the arena, runs of several steps, rows independent of others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.program_runs import (
    HIDDEN,
    ROWS,
    SLOTS,
    STATES,
    Runtimes,
    adjustments_of,
    batch_of,
    one_step,
    reset,
    rows_of,
    softmax,
)
from tests.server.tiny_cell import (
    SYMBOLS,
    counting_cell,
    lstm_cell,
    write_cell,
)

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.slots import ZERO
from cellwire.server.batch.step import MAX_STEPS, SAMPLED, StepResult
from cellwire.server.errors import InvalidArgument
from cellwire.server.runtime.runtime import Runtime


def test_forced_rows_take_the_token_they_are_given(runtime: Runtime) -> None:
    forced = np.arange(len(SYMBOLS))
    result = one_step(runtime, batch_of(len(forced), forced=forced))
    assert (result.chosen == forced).all()


def test_the_state_in_the_arena_is_the_cells_own(runtime: Runtime, path: Path) -> None:
    """Tokens stepped through the arena give the logits of states passed by hand, bit for bit."""
    bare = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    h = c = np.zeros((1, HIDDEN), np.float32)
    read_slot = ZERO
    for token in [3, 1, 4, 1, 5, 9, 2, 6]:
        result = one_step(
            runtime, batch_of(1, token=[token], read_slot=[read_slot], write_slot=[7])
        )
        logits, h, c = bare.run(
            ["logits", "next_state.h", "next_state.c"],
            {"token": np.array([token]), "state.h": h, "state.c": c},
        )
        read_slot = 7
        expected = np.log(softmax(np.asarray(logits)))[0, result.chosen[0]]
        assert result.log_probability[0] == pytest.approx(expected, abs=1e-5)
    for name, state in (("h", h), ("c", c)):
        assert (runtime.state(name)[7] == np.asarray(state)[0]).all()
        others = np.delete(runtime.state(name), 7, axis=0)
        assert not others.any(), "a slot was touched that no row wrote"


@settings(max_examples=60)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 31), unique=True, max_size=5))
def test_batched_is_alone_bit_for_bit(
    shared_runtimes: Runtimes, seed: int, cuts: list[int]
) -> None:
    """However 32 rows are cut into batches, each gives the same token, probability and state."""
    together, apart = reset(*shared_runtimes)
    random = np.random.default_rng(seed)
    read_slot = np.full(32, ZERO)
    token = random.integers(0, len(SYMBOLS), 32)
    for _ in range(4):
        batch = batch_of(
            32,
            token=token,
            read_slot=read_slot,
            write_slot=np.arange(2, 34),
            forced=random.integers(-3, len(SYMBOLS), 32).clip(min=SAMPLED),
            uniform=random.integers(0, 2**23, 32) * 2.0**-23,
            inverse_temperature=random.uniform(0.2, 5, 32),
            top_k=random.integers(0, 6, 32),
        )
        whole = one_step(together, batch)
        parts = [one_step(apart, rows_of(batch, p)) for p in np.split(np.arange(32), sorted(cuts))]
        check_same(whole, parts)
        token, read_slot = whole.chosen, np.arange(2, 34)
    for name in STATES:
        assert (together.state(name) == apart.state(name)).all()


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32), ranked=st.booleans(), adjusted=st.booleans(), ragged=st.booleans()
)
def test_a_run_is_its_steps_bit_for_bit(
    shared_runtimes: Runtimes,
    seed: int,
    ranked: bool,  # noqa: FBT001
    adjusted: bool,  # noqa: FBT001
    ragged: bool,  # noqa: FBT001
) -> None:
    """Rows of one length or of several give in one run what they give step by step, each alone."""
    whole, alone = reset(*shared_runtimes)
    random = np.random.default_rng(seed)
    rows = 9
    forced = random.integers(-6, len(SYMBOLS), (MAX_STEPS, rows)).clip(min=SAMPLED)
    batch = batch_of(
        rows,
        token=random.integers(0, len(SYMBOLS), rows),
        write_slot=np.arange(2, 2 + rows),
        count=random.integers(1, MAX_STEPS + 1, rows) if ragged else np.full(rows, MAX_STEPS),
        forced=forced,
        uniform=random.integers(0, 2**23, (MAX_STEPS, rows)) * 2.0**-23,
        inverse_temperature=random.uniform(0.2, 5, rows),
        top_k=random.integers(0, 6, rows) * ranked,
    )
    changes = [(row, 3, 1.0, 2.0) for row in range(rows)]
    together = whole.step(
        replace(batch, adjustments=adjustments_of(rows, changes) if adjusted else None)
    )
    for row in range(rows):
        single = rows_of(batch, np.array([row]))
        for step in range(int(batch.count[row])):
            result = alone.step(
                replace(
                    single,
                    count=np.ones(1, np.int64),
                    forced=single.forced[step : step + 1],
                    uniform=single.uniform[step : step + 1],
                    adjustments=adjustments_of(1, [(0, 3, 1.0, 2.0)]) if adjusted else None,
                )
            )
            assert result.chosen[0, 0] == together.chosen[step, row]
            assert result.log_probability[0, 0] == together.log_probability[step, row]
            single = replace(single, token=result.chosen[0], read_slot=single.write_slot)
    for name in STATES:
        assert (whole.state(name) == alone.state(name)).all()


def check_same(whole: StepResult, parts: list[StepResult]) -> None:
    assert (whole.chosen == np.concatenate([part.chosen for part in parts])).all()
    separate = np.concatenate([part.log_probability for part in parts])
    assert (whole.log_probability == separate).all()


def test_a_cell_may_use_any_name_of_its_own(tmp_path: Path) -> None:
    """Inner values named like the program's inputs and outputs do not collide with them."""
    cell = lstm_cell(8).model()
    new_names = {"gates": "uniform", "ifo": "chosen", "squashed": "read_slot", "small": "top_k"}
    for node in cell.graph.node:
        for names in (node.input, node.output):
            names[:] = [new_names.get(name, name) for name in names]
    onnx.save(cell, tmp_path / "names.onnx")
    plain = Runtime(read_cell(write_cell(tmp_path / "plain.onnx", lstm_cell(8))), SLOTS, ROWS)
    result = one_step(Runtime(read_cell(tmp_path / "names.onnx"), SLOTS, ROWS), batch_of(3))
    assert (result.log_probability == one_step(plain, batch_of(3)).log_probability).all()


@pytest.mark.parametrize("shape", [(), (3,), (2, 3), (2, 1, 3)])
def test_a_state_may_have_any_shape(tmp_path: Path, shape: tuple[int, ...]) -> None:
    """Each row counts its own steps, and is held when it has taken them all."""
    cell = counting_cell(shape)
    runtime = Runtime(read_cell(write_cell(tmp_path / "count.onnx", cell)), SLOTS, ROWS)
    count = [1, 4, 2, 3]
    batch = batch_of(4, write_slot=[2, 3, 4, 5], count=count)
    forced, uniform = np.zeros((4, 4), np.int64), np.zeros((4, 4), np.float32)
    runtime.step(replace(batch, forced=forced, uniform=uniform))
    state = runtime.state("count")
    assert state.shape == (SLOTS, *shape)
    for slot, steps in enumerate(count, start=2):
        assert (state[slot] == steps).all()


def test_a_state_is_read_and_written_back(runtimes: Runtimes) -> None:
    one, other = runtimes
    one_step(one, batch_of(1, token=[7], write_slot=[5]))
    other.write_state(9, one.read_state(5))
    assert other.read_state(9) == one.read_state(5)
    after = [
        one_step(runtime, batch_of(1, token=[3], read_slot=[slot], write_slot=[6], forced=[2]))
        for runtime, slot in ((one, 5), (other, 9))
    ]
    assert after[0].log_probability == after[1].log_probability
    with pytest.raises(InvalidArgument, match="shape"):
        other.write_state(9, one.read_state(5)[:1])
