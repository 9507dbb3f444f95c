"""The symbol for unknown ones is read and scored, and never written unless a bias names it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.server.program_runs import adjustments_of, batch_of, first_logits, one_step, softmax
from tests.server.programs.test_beam_program import TEXT_SLOT, beams_of, run
from tests.server.tiny_cell import SYMBOLS, lstm_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.batch.slots import ZERO
from cellwire.server.batch.step import StepBatch
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.operations import Complete

ROWS = 400
HIDDEN = 19


@pytest.fixture(scope="module")
def unknown(path: Path) -> int:
    """The likeliest symbol after the first."""
    return int(first_logits(path, np.zeros(1, np.int64))[0].argmax())


@pytest.fixture(scope="module")
def unknown_runtime(tmp_path_factory: pytest.TempPathFactory, unknown: int) -> Runtime:
    vocabulary = {"kind": "words", "symbols": list(SYMBOLS), "unknown": SYMBOLS[unknown]}
    path = tmp_path_factory.mktemp("models") / "unknown.onnx"
    write_cell(path, lstm_cell(HIDDEN, vocabulary=vocabulary))
    runtime = Runtime(read_cell(path), 40, ROWS)
    one_step(runtime, batch_of(1, token=[0], read_slot=[ZERO], write_slot=[TEXT_SLOT]))
    return runtime


def draws(**columns: object) -> StepBatch:
    return batch_of(ROWS, uniform=np.arange(ROWS) / ROWS, **columns)


BATCHES = {
    "plain": draws(),
    "greedy": draws(top_k=np.ones(ROWS)),
    "top_k": draws(top_k=np.full(ROWS, 3)),
    "ranking": draws(top_k=np.arange(ROWS) % 4),
    "reporting": replace(draws(), top_token_count=2),
    "all biased but it": replace(draws(), adjustments=adjustments_of(ROWS, [(0, 1, 1.0, 2.0)])),
    "top_p": replace(draws(), adjustments=adjustments_of(ROWS, top_p=np.full(ROWS, 0.5))),
}


@pytest.mark.parametrize("name", BATCHES)
def test_it_is_never_drawn(unknown_runtime: Runtime, path: Path, unknown: int, name: str) -> None:
    result = one_step(unknown_runtime, BATCHES[name])
    assert unknown not in result.chosen
    # Log-probabilities are the model's own all the same.
    logs = np.log(softmax(first_logits(path, np.zeros(1, np.int64))[0]))
    np.testing.assert_allclose(result.log_probability, logs[result.chosen], atol=1e-5)
    if result.top_token.size:
        assert (result.top_token[..., 0] == unknown).all()


def test_a_draw_is_the_same_in_each_program(unknown_runtime: Runtime) -> None:
    alike = [one_step(unknown_runtime, BATCHES[name]).chosen for name in ("plain", "reporting")]
    adjusted = replace(draws(), adjustments=adjustments_of(ROWS))
    alike.append(one_step(unknown_runtime, adjusted).chosen)
    assert (alike[0] == alike[1]).all()
    assert (alike[0] == alike[2]).all()


def test_a_bias_names_it_and_a_penalty_does_not(unknown_runtime: Runtime, unknown: int) -> None:
    biased = [(row, unknown, 1.0, 1e-30) for row in range(ROWS)]
    named = one_step(unknown_runtime, replace(draws(), adjustments=adjustments_of(ROWS, biased)))
    assert unknown in named.chosen
    penalised = [(row, unknown, 1.5, 0.0) for row in range(ROWS)]
    batch = replace(draws(), adjustments=adjustments_of(ROWS, penalised))
    assert unknown not in one_step(unknown_runtime, batch).chosen


def test_it_is_forced_and_scored_as_any_other(unknown_runtime: Runtime, path: Path) -> None:
    tokens = np.arange(len(SYMBOLS))
    result = one_step(unknown_runtime, batch_of(len(tokens), forced=tokens))
    logs = np.log(softmax(first_logits(path, np.zeros(1, np.int64))[0]))
    assert (result.chosen == tokens).all()
    np.testing.assert_allclose(result.log_probability, logs, atol=1e-5)


@pytest.mark.parametrize("ended", [False, True])
def test_no_completion_holds_it(
    unknown_runtime: Runtime,
    unknown: int,
    ended: bool,  # noqa: FBT001
) -> None:
    end = CompletionEnd(frozenset({unknown, 5})) if ended else CompletionEnd()
    (beam,) = beams_of([Complete(1, 4, 4, 6, end=end)])
    run(unknown_runtime, [beam], 0, 6)
    results = beam.results()
    assert len(results) == 4
    assert all(unknown not in completion.tokens for completion in results)
