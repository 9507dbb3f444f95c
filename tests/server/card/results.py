"""Batches for the card and the CPU, and comparisons of what both give."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from tests.server.program_runs import adjustments_of, batch_of

from cellwire.model_file.cell import Cell
from cellwire.server.batch.slots import ZERO
from cellwire.server.batch.step import SAMPLED, StepBatch, StepResult
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.runtime.runtime import Runtime

CLOSE = 1e-5


def random_batch(
    cell: Cell, variant: SamplerVariant, steps: int, rows: int, seed: int
) -> StepBatch:
    """A batch that takes a variant; its rows go on from random states to other slots."""
    random, vocabulary = np.random.default_rng(seed), cell.manifest.vocabulary.size
    slots = 2 + random.permutation(20)
    lowest = 0 if variant is SamplerVariant.FORCED else -vocabulary
    top_k = random.integers(0, 5, rows)
    if variant in {SamplerVariant.FORCED, SamplerVariant.PLAIN}:
        top_k[:] = 0
    elif variant is SamplerVariant.TOP_K:
        top_k += 1
    batch = batch_of(
        rows,
        token=random.integers(0, vocabulary, rows),
        read_slot=random.integers(ZERO, 22, rows),
        write_slot=slots[:rows],
        count=random.integers(1, steps + 1, rows),
        forced=random.integers(lowest, vocabulary, (steps, rows)).clip(min=SAMPLED),
        uniform=random.integers(0, 2**23, (steps, rows)) * 2.0**-23,
        inverse_temperature=random.uniform(0.5, 2, rows),
        top_k=top_k,
    )
    batch.forced[0] = SAMPLED if lowest else batch.forced[0]
    if variant is SamplerVariant.RANKING and steps == 1:
        batch = replace(batch, top_token_count=3)
    if variant is SamplerVariant.ADJUSTED:
        changes = [(row, (7 * row) % vocabulary, 1.5, -0.5) for row in range(rows)]
        top_p, min_p = random.choice([0.5, 0.9, 1], rows), random.choice([0, 0.01], rows)
        batch = replace(batch, adjustments=adjustments_of(rows, changes, top_p=top_p, min_p=min_p))
    return batch


def check_same(batch: StepBatch, found: StepResult, expected: StepResult) -> None:
    """Check that tokens are equal, and numbers close, in all steps that rows take."""
    taken = np.arange(batch.steps)[:, None] < batch.count
    assert (found.chosen == expected.chosen)[taken].all()
    apart = np.abs(found.log_probability - expected.log_probability)[taken]
    assert apart.max() <= CLOSE
    ranked = np.s_[:, : batch.top_token_count]
    assert (found.top_token[ranked] == expected.top_token[ranked]).all()
    if batch.top_token_count:
        top, other = found.top_log_probability[ranked], expected.top_log_probability[ranked]
        assert np.abs(top - other).max() <= CLOSE
    assert (found.scores is None) == (expected.scores is None)
    if found.scores is not None and expected.scores is not None:
        assert np.abs(found.scores - expected.scores)[taken].max() <= CLOSE


def states(runtime: Runtime, slots: range) -> np.ndarray:
    """The states in some slots, `[slots, all numbers]`."""
    rows = (b"".join(runtime.read_state(slot)) for slot in slots)
    return np.stack([np.frombuffer(row, "<f4") for row in rows])
