"""The composed program, row by row against numpy, and every row untouched by its neighbours."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.server.tiny_cell import SYMBOLS, lstm_cell, previous_token_cell, write_cell

from cellwire.server.arena import TRASH, ZERO
from cellwire.server.cell import read_cell
from cellwire.server.runtime import Runtime
from cellwire.server.sampling import GREEDY_INVERSE_TEMPERATURE
from cellwire.server.step import SAMPLED, StepBatch, StepResult

SLOTS = 40
HIDDEN = 19  # no multiple of any vector width


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("models") / "tiny.onnx", lstm_cell(HIDDEN))


def batch_of(rows: int, **columns: object) -> StepBatch:
    given_or: dict[str, Any] = {
        "token": np.zeros(rows, np.int64),
        "read_slot": np.full(rows, ZERO, np.int64),
        "write_slot": np.full(rows, TRASH, np.int64),
        "forced": np.full(rows, SAMPLED, np.int64),
        "inverse_temperature": np.ones(rows, np.float32),
        "uniform": np.zeros(rows, np.float32),
        "top_k": np.zeros(rows, np.int64),
    }
    given_or |= {name: np.asarray(v, given_or[name].dtype) for name, v in columns.items()}
    return StepBatch(**given_or)


def first_logits(path: Path, tokens: np.ndarray) -> np.ndarray:
    """The bare cell's logits [batch, symbols] from a zero state, run by hand."""
    session = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    zeros = np.zeros((len(tokens), HIDDEN), np.float32)
    feed = {"token": tokens, "state.h": zeros, "state.c": zeros}
    return np.asarray(session.run(["logits"], feed)[0])


def softmax(logits: np.ndarray) -> np.ndarray:
    weights = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=-1, keepdims=True))


def test_sampling_inverts_the_distribution(path: Path) -> None:
    rows = 1000
    uniform = (np.arange(rows) + 0.5) / rows
    result = Runtime(read_cell(path), SLOTS).step(
        batch_of(rows, uniform=uniform, inverse_temperature=np.full(rows, 1 / 0.7))
    )
    probabilities = softmax(first_logits(path, np.zeros(1, np.int64))[0] / 0.7)
    counts = np.bincount(result.chosen, minlength=len(SYMBOLS))
    np.testing.assert_allclose(counts / rows, probabilities, atol=2 / rows)


def test_log_probability_is_the_models_own_whatever_the_sampling(path: Path) -> None:
    tokens = np.arange(len(SYMBOLS))
    result = Runtime(read_cell(path), SLOTS).step(
        batch_of(
            len(tokens),
            token=tokens,
            uniform=np.linspace(0, 0.999, len(tokens)),
            inverse_temperature=np.linspace(0.1, 9, len(tokens)),
            top_k=tokens % 5,
        )
    )
    expected = np.log(softmax(first_logits(path, tokens)))[tokens, result.chosen]
    np.testing.assert_allclose(result.log_probability, expected, atol=1e-5)


def test_greedy_takes_the_likeliest(path: Path) -> None:
    tokens = np.arange(len(SYMBOLS))
    inverse = np.full(len(tokens), GREEDY_INVERSE_TEMPERATURE)
    result = Runtime(read_cell(path), SLOTS).step(
        batch_of(len(tokens), token=tokens, inverse_temperature=inverse)
    )
    assert (result.chosen == first_logits(path, tokens).argmax(axis=1)).all()


@pytest.mark.parametrize("top_k", [1, 2, 5, len(SYMBOLS), 4_000_000_000])
def test_top_k_draws_from_the_likeliest_only(path: Path, top_k: int) -> None:
    rows = 400
    uniform = np.arange(rows) / rows
    result = Runtime(read_cell(path), SLOTS).step(
        batch_of(rows, uniform=uniform, top_k=np.full(rows, top_k))
    )
    logits = first_logits(path, np.zeros(1, np.int64))[0]
    allowed = set(np.argsort(-logits)[: min(top_k, len(SYMBOLS))].tolist())
    assert set(result.chosen.tolist()) <= allowed
    if top_k <= 5:
        assert set(result.chosen.tolist()) == allowed


def test_a_uniform_just_below_one_never_falls_off_the_end(path: Path) -> None:
    rows = 4 * len(SYMBOLS)
    tokens = np.arange(rows) % len(SYMBOLS)
    result = Runtime(read_cell(path), SLOTS).step(
        batch_of(
            rows,
            token=tokens,
            uniform=np.full(rows, 1 - 2**-23),
            top_k=np.arange(rows) % 4,
            inverse_temperature=np.linspace(0.01, 50, rows),
        )
    )
    assert (result.chosen < len(SYMBOLS)).all()
    order = np.argsort(np.argsort(-first_logits(path, tokens), axis=1), axis=1)
    ranks = order[np.arange(rows), result.chosen]
    limits = np.where(np.arange(rows) % 4, np.arange(rows) % 4, len(SYMBOLS))
    assert (ranks < limits).all()


def test_forced_rows_take_the_token_they_are_given(path: Path) -> None:
    forced = np.arange(len(SYMBOLS))
    result = Runtime(read_cell(path), SLOTS).step(batch_of(len(forced), forced=forced))
    assert (result.chosen == forced).all()


def test_the_state_in_the_arena_is_the_cells_own(path: Path) -> None:
    """Tokens stepped through the arena give the logits of states passed by hand, bit for bit."""
    runtime = Runtime(read_cell(path), SLOTS)
    bare = ort.InferenceSession(path, providers=["CPUExecutionProvider"])
    h = c = np.zeros((1, HIDDEN), np.float32)
    read_slot = ZERO
    for token in [3, 1, 4, 1, 5, 9, 2, 6]:
        result = runtime.step(batch_of(1, token=[token], read_slot=[read_slot], write_slot=[7]))
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


def test_a_state_that_ignores_itself_is_read_before_it_is_written(tmp_path: Path) -> None:
    runtime = Runtime(read_cell(write_cell(tmp_path / "p.onnx", previous_token_cell())), SLOTS)
    slots = np.arange(2, 34)
    greedy = np.full(32, GREEDY_INVERSE_TEMPERATURE)
    columns = {"write_slot": slots, "inverse_temperature": greedy}
    runtime.step(batch_of(32, token=np.arange(32) % 30, read_slot=np.full(32, ZERO), **columns))
    result = runtime.step(batch_of(32, token=(np.arange(32) + 9) % 30, read_slot=slots, **columns))
    assert (result.chosen == np.arange(32) % 30).all()


def rows_of(batch: StepBatch, places: np.ndarray) -> StepBatch:
    return StepBatch(**{f.name: getattr(batch, f.name)[places] for f in fields(StepBatch)})


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 31), unique=True, max_size=5))
def test_batched_is_alone_bit_for_bit(path: Path, seed: int, cuts: list[int]) -> None:
    """However 32 rows are cut into batches, each gives the same token, probability and state."""
    together, apart = Runtime(read_cell(path), SLOTS), Runtime(read_cell(path), SLOTS)
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
        whole = together.step(batch)
        parts = [apart.step(rows_of(batch, p)) for p in np.split(np.arange(32), sorted(cuts))]
        check_same(whole, parts)
        token, read_slot = whole.chosen, np.arange(2, 34)
    for name in ("h", "c"):
        assert (together.state(name) == apart.state(name)).all()


def check_same(whole: StepResult, parts: list[StepResult]) -> None:
    assert (whole.chosen == np.concatenate([part.chosen for part in parts])).all()
    separate = np.concatenate([part.log_probability for part in parts])
    assert (whole.log_probability == separate).all()


def test_a_cell_may_use_any_name_of_its_own(tmp_path: Path) -> None:
    """Inner values named like the program's inputs and outputs do not meet them."""
    cell = lstm_cell(8).model()
    new_names = {"gates": "uniform", "ifo": "chosen", "squashed": "read_slot", "small": "top_k"}
    for node in cell.graph.node:
        for names in (node.input, node.output):
            names[:] = [new_names.get(name, name) for name in names]
    onnx.save(cell, tmp_path / "names.onnx")
    plain = Runtime(read_cell(write_cell(tmp_path / "plain.onnx", lstm_cell(8))), SLOTS)
    result = Runtime(read_cell(tmp_path / "names.onnx"), SLOTS).step(batch_of(3))
    assert (result.log_probability == plain.step(batch_of(3)).log_probability).all()
