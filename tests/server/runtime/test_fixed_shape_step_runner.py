"""Fixed shapes, without a loop, against batches of any size: the same bits, on the CPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.program_runs import SLOTS, adjustments_of, batch_of, rows_of
from tests.server.tiny_cell import SYMBOLS, labelled_cell, lstm_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.slots import ZERO
from cellwire.server.batch.step import SAMPLED, StepBatch
from cellwire.server.programs import step_program
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.runtime.device import CPU, Device, Execution
from cellwire.server.runtime.fixed_shape_step_runner import (
    SUPPORTED_STEPS,
    FixedShapeStepRunner,
    max_top_k,
)
from cellwire.server.runtime.memory import DeviceMemory, Memory
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.runtime.states import DeviceStates, States
from cellwire.server.runtime.step_binding import StepSize

MOST = 16
LARGE = 5_000  # symbols
ROWS = 9

Runtimes = tuple[Runtime, ...]  # of any size, of fixed shapes, of a fixed batch


@pytest.fixture(scope="module")
def runtimes(tmp_path_factory: pytest.TempPathFactory) -> Runtimes:
    cell = read_cell(write_cell(tmp_path_factory.mktemp("cell") / "cell.onnx", lstm_cell(19)))
    ways = Execution(), Execution(fixed_shape=True), Execution(fixed_shape=True, fixed_batch=True)
    return tuple(Runtime(cell, SLOTS, MOST, way) for way in ways)


def random_batch(
    random: np.random.Generator, rows: int, steps: int, *, ragged: bool = True, **columns: object
) -> StepBatch:
    """Rows that continue from the states of the batch before, in another order."""
    return batch_of(
        rows,
        token=random.integers(0, len(SYMBOLS), rows),
        read_slot=random.choice(np.append(np.arange(2, SLOTS), ZERO), rows),
        write_slot=random.permutation(np.arange(2, SLOTS))[:rows],
        count=random.integers(1, steps + 1, rows) if ragged else np.full(rows, steps),
        forced=random.integers(-6, len(SYMBOLS), (steps, rows)).clip(min=SAMPLED),
        uniform=random.integers(0, 2**23, (steps, rows)) * 2.0**-23,
        inverse_temperature=random.uniform(0.2, 5, rows),
        **columns,
    )


@pytest.mark.slow
@settings(max_examples=40)
@given(
    seed=st.integers(0, 2**32),
    rows=st.lists(st.integers(1, MOST), min_size=1, max_size=4),
    steps=st.sampled_from(SUPPORTED_STEPS),
    top_k=st.sampled_from([0, 1, 5, 100]),
    changes=st.none() | st.integers(0, 5),
    ragged=st.booleans(),
)
def test_a_batch_of_a_fixed_shape_is_one_of_any_size_bit_for_bit(
    runtimes: Runtimes,
    seed: int,
    rows: list[int],
    steps: int,
    top_k: int,
    changes: int | None,
    ragged: bool,  # noqa: FBT001
) -> None:
    random = np.random.default_rng(seed)
    for count in rows:
        top_ks = random.integers(0, top_k + 1, count)
        batch = random_batch(random, count, steps, ragged=ragged, top_k=top_ks)
        if steps == 1:
            batch = replace(batch, top_token_count=int(random.integers(0, 4)))
        if changes is not None:
            made = random.permutation(count * len(SYMBOLS))[:changes]
            places = [divmod(int(place), len(SYMBOLS)) for place in made]
            adjustments = adjustments_of(
                count,
                [(row, token, 1.5, -0.5) for row, token in places],
                top_p=random.choice([1, 0.7], count),
                min_p=random.choice([0, 0.1], count),
            )
            batch = replace(batch, adjustments=adjustments)
        expected, *others = (runtime.step(batch) for runtime in runtimes)
        taken = np.arange(steps)[:, None] < batch.count
        for found in others:
            assert (found.chosen == expected.chosen)[taken].all()
            assert (found.log_probability == expected.log_probability)[taken].all()
            for name in ("top_token", "top_log_probability"):
                theirs, ours = (
                    getattr(r, name)[:, : batch.top_token_count] for r in (expected, found)
                )
                assert (theirs == ours).all()
    for name in ("h", "c"):
        plain, *fixed = (runtime.state(name) for runtime in runtimes)
        for states in fixed:
            assert (states[2:] == plain[2:]).all()
            assert (states[ZERO] == 0).all(), "padding has left something"


@pytest.mark.parametrize("steps", [1, 4])
def test_a_large_vocabulary_gives_the_same_log_probabilities(
    tmp_path: Path, steps: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are looked up in each step, since the logits of all steps would take too much memory."""
    monkeypatch.setattr(step_program, "_MAX_COLLECTED_VOCABULARY", len(SYMBOLS) - 1)
    cell = read_cell(write_cell(tmp_path / "cell.onnx", lstm_cell(19)))
    way = Execution(fixed_shape=True)
    one_by_one, at_once = Runtime(cell, SLOTS, MOST, way), Runtime(cell, SLOTS, MOST)
    random = np.random.default_rng(3)
    batch = random_batch(random, ROWS, steps, ragged=False, top_k=np.full(ROWS, 3))
    batch = replace(batch, top_token_count=3 if steps == 1 else 0)
    found, expected = one_by_one.step(batch), at_once.step(batch)
    assert (found.chosen == expected.chosen).all()
    assert (found.log_probability == expected.log_probability).all()
    assert (found.top_log_probability == expected.top_log_probability)[:, :3].all()


@pytest.fixture(scope="module")
def large_runtimes(tmp_path_factory: pytest.TempPathFactory) -> Runtimes:
    """Of any size, and of fixed shapes; with 5,000 symbols, one of which is not written."""
    symbols = [chr(0x4E00 + number) for number in range(LARGE)]
    vocabulary = {"kind": "words", "symbols": symbols, "unknown": symbols[7]}
    path = tmp_path_factory.mktemp("cell") / "large.onnx"
    cell = read_cell(write_cell(path, lstm_cell(5, vocabulary=vocabulary)))
    return tuple(
        Runtime(cell, SLOTS, MOST, Execution(fixed_shape=fixed)) for fixed in (False, True)
    )


@pytest.mark.parametrize("adjusted", [False, True])
@pytest.mark.parametrize("top_k", [0, 1, 16, 256, 512, 513, 600, 4_096, 4_097, LARGE])
def test_a_large_vocabulary_gives_the_same_at_any_limit(
    large_runtimes: Runtimes,
    top_k: int,
    adjusted: bool,  # noqa: FBT001
) -> None:
    """Half of the rows have the batch's top_k, others less or none, and all draw the same alone."""
    random = np.random.default_rng(top_k)
    rows = 12
    mixed = random.integers(0, top_k + 1, rows)
    batch = batch_of(
        rows,
        token=random.integers(0, LARGE, rows),
        uniform=random.integers(0, 2**23, rows) * 2.0**-23,
        inverse_temperature=random.uniform(0.2, 5, rows),
        top_k=np.where(random.random(rows) < 0.5, top_k, mixed),
    )
    if adjusted:
        changes = [(row, 7 + row, 1.5, -0.5) for row in range(rows)]
        limits = {"top_p": random.choice([1, 0.7], rows), "min_p": random.choice([0, 0.1], rows)}
        batch = replace(batch, adjustments=adjustments_of(rows, changes, **limits))
    any_size, fixed = large_runtimes
    expected, found = any_size.step(batch), fixed.step(batch)
    assert (found.chosen == expected.chosen).all()
    assert (found.log_probability == expected.log_probability).all()
    for row in range(rows):
        single = rows_of(replace(batch, adjustments=None), np.array([row]))
        if batch.adjustments is not None:
            limits = {
                "top_p": batch.adjustments.top_p[[row]],
                "min_p": np.exp(batch.adjustments.log_min_p[[row]]),
            }
            change = [(0, 7 + row, 1.5, -0.5)]
            single = replace(single, adjustments=adjustments_of(1, change, **limits))
        assert any_size.step(single).chosen[0, 0] == expected.chosen[0, row]


def test_there_are_few_sizes(large_runtimes: Runtimes) -> None:
    """Of top tokens to rank, and of logit changes: each is a program or a captured graph."""
    runner = large_runtimes[1]._step_runner
    assert isinstance(runner, FixedShapeStepRunner)
    limits = {runner.size_of(batch_of(1, top_k=[top_k])).limit for top_k in range(LARGE + 2)}
    assert limits == {0, 1, 16, 256, 4_096, LARGE}
    changes = [
        runner.size_of(replace(batch_of(1), adjustments=adjustments_of(1, [(0, 1, 1, 1)] * number)))
        for number in (0, 1, 64, 65, 1_024, 1_025, 20_000)
    ]
    assert [size.changes for size in changes] == [64, 64, 64, 1_024, 1_024, 16_384, 262_144]


def test_a_card_ranks_no_more_than_it_ranks_quickly() -> None:
    card = Device("cuda")
    assert [max_top_k(card, symbols) for symbols in (256, 4_096, 4_097)] == [None, None, 4_096]
    assert max_top_k(CPU, LARGE) is None


def test_the_cpu_ranks_any_number(large_runtimes: Runtimes) -> None:
    assert [runtime.max_top_k for runtime in large_runtimes] == [None, None]


def test_scores_are_the_same_too(tmp_path: Path) -> None:
    cell = read_cell(write_cell(tmp_path / "labels.onnx", labelled_cell()))
    plain, fixed = (Runtime(cell, SLOTS, MOST, Execution(fixed_shape=f)) for f in (False, True))
    random = np.random.default_rng(1)
    batch = random_batch(random, 5, 4)
    batch = replace(batch, forced=batch.forced.clip(min=0), count=np.full(5, 4))
    expected, found = plain.step(batch).scores, fixed.step(batch).scores
    assert expected is not None
    assert found is not None
    assert (found == expected).all()


def test_a_run_has_the_steps_of_some_program(runtimes: Runtimes) -> None:
    assert [runtimes[1].supported_steps(steps) for steps in (1, 2, 3, 4, 5, 15, 16)] == [
        *(1, 1, 1),
        *(4, 4, 4),
        16,
    ]


def test_the_first_run_of_each_size_changes_the_trash_only(tmp_path: Path) -> None:
    """Capturing may execute it several times."""
    cell = read_cell(write_cell(tmp_path / "cell.onnx", lstm_cell(19)))
    runtime = Runtime(cell, SLOTS, MOST, Execution(fixed_shape=True))
    for name in ("h", "c"):
        runtime.state(name)[2:] = 7
    runner = runtime._step_runner
    assert isinstance(runner, FixedShapeStepRunner)
    for rows in (1, 16):
        runner.binding(StepSize(SamplerVariant.PLAIN, steps=4, rows=rows, limit=0, changes=0))
    for name in ("h", "c"):
        assert (runtime.state(name)[2:] == 7).all()
        assert (runtime.state(name)[ZERO] == 0).all()


def test_programs_read_and_write_rows_as_the_host_does(tmp_path: Path) -> None:
    cell = read_cell(write_cell(tmp_path / "cell.onnx", lstm_cell(19)))
    host, device = States(cell, 6, Memory()), DeviceStates(cell, 6, DeviceMemory(CPU))
    state = tuple(np.random.default_rng(n).normal(size=19).astype("<f4").tobytes() for n in (1, 2))
    for states in (host, device):
        states.write(4, state)
        assert states.read(4) == state
        assert states.read(3) == (bytes(19 * 4),) * 2
