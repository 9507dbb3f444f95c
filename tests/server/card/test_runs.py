"""Runs on the card give what they give on the CPU; graphs are replayed as they were captured."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.server.card.card import Card
from tests.server.card.conftest import MOST, RuntimeOn
from tests.server.card.results import check_same, random_batch, states
from tests.server.tiny_cell import labelled_cell, lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.batch.slots import TRASH, ZERO
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.runtime.device import CPU, Device
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS

SEEN = range(2, 22)  # slots


@pytest.mark.parametrize("steps", SUPPORTED_STEPS)
@pytest.mark.parametrize("variant", SamplerVariant)
def test_every_variant_draws_what_it_draws_on_the_cpu(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn, variant: SamplerVariant, steps: int
) -> None:
    """Sizes are captured, replayed, and replayed after larger ones."""
    here, there = (runtime_on(cell, device) for device in (CPU, cuda))
    for seed, rows in enumerate((3, 2, 3, MOST, 1, 3, MOST)):
        batch = random_batch(cell, variant, steps, rows, seed)
        if seed % 3 == 0:
            batch.count[:] = steps  # another program: no row has to be held
        check_same(batch, there.step(batch), here.step(batch))
    assert np.abs(states(here, SEEN) - states(there, SEEN)).max() <= 1e-5


@pytest.mark.parametrize("symbols", [31, 300])
@pytest.mark.parametrize(
    "variant", [SamplerVariant.TOP_K, SamplerVariant.RANKING, SamplerVariant.ADJUSTED]
)
def test_a_symbol_that_is_not_written_ranks_below_what_the_kernel_adds(
    tmp_path: Path, cuda: Device, runtime_on: RuntimeOn, variant: SamplerVariant, symbols: int
) -> None:
    """Its logit is -inf. Up to 256 symbols are ranked by another kernel than more."""
    words = [f"w{number}" for number in range(symbols)]
    vocabulary = {"kind": "words", "symbols": words, "unknown": "w5"}
    cell = read_cell(write_cell(tmp_path / "cell.onnx", lstm_cell(7, vocabulary=vocabulary)))
    here, there = (runtime_on(cell, device) for device in (CPU, cuda))
    for seed in range(6):
        batch = random_batch(cell, variant, 1, MOST, seed)
        check_same(batch, there.step(batch), here.step(batch))


@pytest.mark.parametrize("steps", SUPPORTED_STEPS)
def test_scores_are_those_of_the_cpu(
    tmp_path: Path, cuda: Device, runtime_on: RuntimeOn, steps: int
) -> None:
    cell = read_cell(write_cell(tmp_path / "labels.onnx", labelled_cell()))
    here, there = (runtime_on(cell, device) for device in (CPU, cuda))
    for seed, rows in enumerate((5, 2, 5)):
        batch = random_batch(cell, SamplerVariant.FORCED, steps, rows, seed)
        check_same(batch, there.step(batch), here.step(batch))


def test_a_fixed_batch_is_always_the_same_graph(
    card: Card, cell: Cell, cuda: Device, runtime_on: RuntimeOn
) -> None:
    there = runtime_on(cell, cuda, fixed_batch=True)
    for rows in (1, 3, MOST):
        there.step(random_batch(cell, SamplerVariant.PLAIN, 4, rows, rows))
    assert sum(session.graph_count for session in card.sessions) == 1


def test_a_capture_leaves_all_states_as_they_are(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn
) -> None:
    runtime = runtime_on(cell, cuda)
    for slot in SEEN:
        part = np.full(7, slot, "<f4").tobytes()
        runtime.write_state(slot, (part, part))
    before = states(runtime, SEEN)
    for rows in (1, 2, 5):
        for steps in SUPPORTED_STEPS:
            batch = random_batch(cell, SamplerVariant.PLAIN, steps, rows, rows)
            batch.write_slot[:] = TRASH
            runtime.step(batch)
    assert (states(runtime, SEEN) == before).all()
    assert not states(runtime, range(ZERO, ZERO + 1)).any()


def test_a_run_changes_only_the_slots_it_writes(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn
) -> None:
    runtime, every = runtime_on(cell, cuda), range(40)
    runtime.step(random_batch(cell, SamplerVariant.PLAIN, 4, MOST, 1))
    before = states(runtime, every)
    batch = random_batch(cell, SamplerVariant.PLAIN, 4, 3, 2)
    runtime.step(batch)
    changed = set(np.flatnonzero((states(runtime, every) != before).any(axis=1)).tolist())
    assert set(batch.write_slot.tolist()) <= changed <= {TRASH, *batch.write_slot.tolist()}


def test_states_pass_between_host_and_card(cell: Cell, cuda: Device, runtime_on: RuntimeOn) -> None:
    runtime = runtime_on(cell, cuda)
    state = tuple(np.random.default_rng(n).normal(size=7).astype("<f4").tobytes() for n in (1, 2))
    runtime.write_state(4, state)
    assert runtime.read_state(4) == state
    assert runtime.read_state(3) == (bytes(28),) * 2
