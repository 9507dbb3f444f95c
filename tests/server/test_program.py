"""The composed program, row by row against numpy, and every row untouched by its neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields, replace
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
from cellwire.server.errors import InvalidRequest
from cellwire.server.runtime import Runtime
from cellwire.server.step import MAX_STEPS, SAMPLED, Shaping, StepBatch, StepResult

SLOTS = 40
ROWS = 1_000
HIDDEN = 19  # no multiple of any vector width


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_cell(tmp_path_factory.mktemp("models") / "tiny.onnx", lstm_cell(HIDDEN))


def batch_of(rows: int, **columns: object) -> StepBatch:
    given_or: dict[str, Any] = {
        "token": np.zeros(rows, np.int64),
        "read_slot": np.full(rows, ZERO, np.int64),
        "write_slot": np.full(rows, TRASH, np.int64),
        "count": np.ones(rows, np.int64),
        "forced": np.full((1, rows), SAMPLED, np.int64),
        "uniform": np.zeros((1, rows), np.float32),
        "inverse_temperature": np.ones(rows, np.float32),
        "top_k": np.zeros(rows, np.int64),
    }
    given_or |= {name: np.asarray(v, given_or[name].dtype) for name, v in columns.items()}
    for name in ("forced", "uniform"):
        given_or[name] = np.atleast_2d(given_or[name])
    return StepBatch(**given_or)


def one_step(runtime: Runtime, batch: StepBatch) -> StepResult:
    """The result of a stride of one step, without the axis of steps."""
    result = runtime.step(batch)
    assert len(result.chosen) == 1
    return replace(result, chosen=result.chosen[0], log_probability=result.log_probability[0])


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
    result = one_step(
        Runtime(read_cell(path), SLOTS, ROWS),
        batch_of(rows, uniform=uniform, inverse_temperature=np.full(rows, 1 / 0.7)),
    )
    probabilities = softmax(first_logits(path, np.zeros(1, np.int64))[0] / 0.7)
    counts = np.bincount(result.chosen, minlength=len(SYMBOLS))
    np.testing.assert_allclose(counts / rows, probabilities, atol=2 / rows)


def test_log_probability_is_the_models_own_whatever_the_sampling(path: Path) -> None:
    tokens = np.arange(len(SYMBOLS))
    result = one_step(
        Runtime(read_cell(path), SLOTS, ROWS),
        batch_of(
            len(tokens),
            token=tokens,
            uniform=np.linspace(0, 0.999, len(tokens)),
            inverse_temperature=np.linspace(0.1, 9, len(tokens)),
            top_k=tokens % 5,
        ),
    )
    expected = np.log(softmax(first_logits(path, tokens)))[tokens, result.chosen]
    np.testing.assert_allclose(result.log_probability, expected, atol=1e-5)


def test_greedy_takes_the_likeliest(path: Path) -> None:
    tokens = np.arange(len(SYMBOLS))
    result = one_step(
        Runtime(read_cell(path), SLOTS, ROWS),
        batch_of(
            len(tokens),
            token=tokens,
            top_k=np.ones(len(tokens)),
            uniform=np.full(len(tokens), 1 - 2**-23),
        ),
    )
    assert (result.chosen == first_logits(path, tokens).argmax(axis=1)).all()


@pytest.mark.parametrize("top_k", [1, 2, 5, len(SYMBOLS), 4_000_000_000])
def test_top_k_draws_from_the_likeliest_only(path: Path, top_k: int) -> None:
    rows = 400
    uniform = np.arange(rows) / rows
    result = one_step(
        Runtime(read_cell(path), SLOTS, ROWS),
        batch_of(rows, uniform=uniform, top_k=np.full(rows, top_k)),
    )
    logits = first_logits(path, np.zeros(1, np.int64))[0]
    allowed = set(np.argsort(-logits)[: min(top_k, len(SYMBOLS))].tolist())
    assert set(result.chosen.tolist()) <= allowed
    if top_k <= 5:
        assert set(result.chosen.tolist()) == allowed


def test_a_uniform_just_below_one_never_falls_off_the_end(path: Path) -> None:
    rows = 4 * len(SYMBOLS)
    tokens = np.arange(rows) % len(SYMBOLS)
    result = one_step(
        Runtime(read_cell(path), SLOTS, ROWS),
        batch_of(
            rows,
            token=tokens,
            uniform=np.full(rows, 1 - 2**-23),
            top_k=np.arange(rows) % 4,
            inverse_temperature=np.linspace(0.01, 50, rows),
        ),
    )
    assert (result.chosen < len(SYMBOLS)).all()
    order = np.argsort(np.argsort(-first_logits(path, tokens), axis=1), axis=1)
    ranks = order[np.arange(rows), result.chosen]
    limits = np.where(np.arange(rows) % 4, np.arange(rows) % 4, len(SYMBOLS))
    assert (ranks < limits).all()


def test_forced_rows_take_the_token_they_are_given(path: Path) -> None:
    forced = np.arange(len(SYMBOLS))
    result = one_step(Runtime(read_cell(path), SLOTS, ROWS), batch_of(len(forced), forced=forced))
    assert (result.chosen == forced).all()


def test_the_state_in_the_arena_is_the_cells_own(path: Path) -> None:
    """Tokens stepped through the arena give the logits of states passed by hand, bit for bit."""
    runtime = Runtime(read_cell(path), SLOTS, ROWS)
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


def test_a_state_that_ignores_itself_is_read_before_it_is_written(tmp_path: Path) -> None:
    runtime = Runtime(
        read_cell(write_cell(tmp_path / "p.onnx", previous_token_cell())), SLOTS, ROWS
    )
    slots = np.arange(2, 34)
    columns = {"write_slot": slots, "top_k": np.ones(32)}
    one_step(
        runtime, batch_of(32, token=np.arange(32) % 30, read_slot=np.full(32, ZERO), **columns)
    )
    result = one_step(
        runtime, batch_of(32, token=(np.arange(32) + 9) % 30, read_slot=slots, **columns)
    )
    assert (result.chosen == np.arange(32) % 30).all()


def rows_of(batch: StepBatch, places: np.ndarray) -> StepBatch:
    columns = {f.name: getattr(batch, f.name) for f in fields(StepBatch)}
    of_rows = {n: v[..., places] for n, v in columns.items() if isinstance(v, np.ndarray)}
    return StepBatch(**columns | of_rows)


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), cuts=st.lists(st.integers(1, 31), unique=True, max_size=5))
def test_batched_is_alone_bit_for_bit(path: Path, seed: int, cuts: list[int]) -> None:
    """However 32 rows are cut into batches, each gives the same token, probability and state."""
    together, apart = Runtime(read_cell(path), SLOTS, ROWS), Runtime(read_cell(path), SLOTS, ROWS)
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
    for name in ("h", "c"):
        assert (together.state(name) == apart.state(name)).all()


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32), ranked=st.booleans(), shaped=st.booleans())
def test_a_stride_is_its_steps_bit_for_bit(
    path: Path,
    seed: int,
    ranked: bool,  # noqa: FBT001
    shaped: bool,  # noqa: FBT001
) -> None:
    """Rows of different lengths in one stride give what they give step by step, each alone."""
    cell = read_cell(path)
    whole, alone = Runtime(cell, SLOTS, ROWS), Runtime(cell, SLOTS, ROWS)
    random = np.random.default_rng(seed)
    rows = 9
    forced = random.integers(-6, len(SYMBOLS), (MAX_STEPS, rows)).clip(min=SAMPLED)
    batch = batch_of(
        rows,
        token=random.integers(0, len(SYMBOLS), rows),
        write_slot=np.arange(2, 2 + rows),
        count=random.integers(1, MAX_STEPS + 1, rows),
        forced=forced,
        uniform=random.integers(0, 2**23, (MAX_STEPS, rows)) * 2.0**-23,
        inverse_temperature=random.uniform(0.2, 5, rows),
        top_k=random.integers(0, 6, rows) * ranked,
    )
    changes = [(row, 3, 1.0, 2.0) for row in range(rows)]
    together = whole.step(replace(batch, shaping=shaping_of(rows, changes) if shaped else None))
    for row in range(rows):
        single = rows_of(batch, np.array([row]))
        for step in range(int(batch.count[row])):
            result = alone.step(
                replace(
                    single,
                    count=np.ones(1, np.int64),
                    forced=single.forced[step : step + 1],
                    uniform=single.uniform[step : step + 1],
                    shaping=shaping_of(1, [(0, 3, 1.0, 2.0)]) if shaped else None,
                )
            )
            assert result.chosen[0, 0] == together.chosen[step, row]
            assert result.log_probability[0, 0] == together.log_probability[step, row]
            single = replace(single, token=result.chosen[0], read_slot=single.write_slot)
    for name in ("h", "c"):
        assert (whole.state(name) == alone.state(name)).all()


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
    plain = Runtime(read_cell(write_cell(tmp_path / "plain.onnx", lstm_cell(8))), SLOTS, ROWS)
    result = one_step(Runtime(read_cell(tmp_path / "names.onnx"), SLOTS, ROWS), batch_of(3))
    assert (result.log_probability == one_step(plain, batch_of(3)).log_probability).all()


Change = tuple[int, int, float, float]  # row, token, penalty, bias


def shaping_of(rows: int, changes: Sequence[Change] = (), **columns: object) -> Shaping:
    row, token, penalty, bias = zip(*changes, strict=True) if changes else ((), (), (), ())
    top_p = np.asarray(columns.get("top_p", np.ones(rows)), np.float32)
    with np.errstate(divide="ignore"):
        log_min_p = np.log(np.asarray(columns.get("min_p", np.zeros(rows)), np.float32))
    return Shaping(
        top_p,
        log_min_p,
        np.array(row, np.int64),
        np.array(token, np.int64),
        np.array(penalty, np.float32),
        np.array(bias, np.float32),
    )


def drawn(path: Path, shaping: Shaping, temperature: float = 1.0, top_k: int = 0) -> np.ndarray:
    """The share of each symbol in many draws after token 0, [symbols]."""
    uniform = (np.arange(ROWS) + 0.5) / ROWS
    inverse = np.full(ROWS, 1 / temperature)
    batch = batch_of(ROWS, uniform=uniform, inverse_temperature=inverse, top_k=np.full(ROWS, top_k))
    result = one_step(Runtime(read_cell(path), SLOTS, ROWS), replace(batch, shaping=shaping))
    return np.bincount(result.chosen, minlength=len(SYMBOLS)) / ROWS


@pytest.mark.parametrize("top_p", [1e-6, 0.3, 0.7, 0.99])
def test_top_p_keeps_the_likeliest_that_have_it_together(path: Path, top_p: float) -> None:
    share = drawn(path, shaping_of(ROWS, top_p=np.full(ROWS, top_p)), temperature=2)
    probabilities = softmax(first_logits(path, np.zeros(1, np.int64))[0] / 2)
    order = np.argsort(-probabilities)
    before = np.concatenate([[0], np.cumsum(probabilities[order])[:-1]])
    kept = order[before < top_p]
    expected = np.zeros(len(SYMBOLS))
    expected[kept] = probabilities[kept] / probabilities[kept].sum()
    np.testing.assert_allclose(share, expected, atol=2 / ROWS)


@pytest.mark.parametrize("min_p", [0.01, 0.3, 1.0])
def test_min_p_keeps_what_has_its_share_of_the_likeliest(path: Path, min_p: float) -> None:
    share = drawn(path, shaping_of(ROWS, min_p=np.full(ROWS, min_p)), temperature=2)
    probabilities = softmax(first_logits(path, np.zeros(1, np.int64))[0] / 2)
    kept = probabilities >= min_p * probabilities.max()
    expected = np.where(kept, probabilities, 0) / probabilities[kept].sum()
    np.testing.assert_allclose(share, expected, atol=2 / ROWS)


def test_penalties_and_biases_change_single_logits(path: Path) -> None:
    logits = first_logits(path, np.zeros(1, np.int64))[0].astype(np.float64)
    likely, unlikely = int(logits.argmax()), int(logits.argmin())
    changes = [
        change
        for row in range(ROWS)
        for change in ((row, likely, 3.0, 0.0), (row, unlikely, 2.0, 4.0))
    ]
    logits[likely] /= 3
    logits[unlikely] = logits[unlikely] * 2 + 4
    share = drawn(path, shaping_of(ROWS, changes))
    np.testing.assert_allclose(share, softmax(logits), atol=2 / ROWS)


def test_top_k_is_of_the_changed_logits(path: Path) -> None:
    least = int(first_logits(path, np.zeros(1, np.int64))[0].argmin())
    shaping = shaping_of(ROWS, [(row, least, 1.0, 100.0) for row in range(ROWS)])
    assert drawn(path, shaping, temperature=100.0, top_k=1)[least] == 1


def test_a_row_that_asks_for_nothing_gets_the_same_from_every_program(path: Path) -> None:
    random = np.random.default_rng(3)
    batch = batch_of(
        32,
        token=random.integers(0, len(SYMBOLS), 32),
        write_slot=np.arange(2, 34),
        uniform=random.integers(0, 2**23, 32) * 2.0**-23,
        inverse_temperature=random.uniform(0.2, 5, 32),
        top_k=random.integers(0, 6, 32),
    )
    shaping = shaping_of(
        32, [(1, 5, 2.0, 1.0)], top_p=np.where(np.arange(32) == 2, 0.5, 1), min_p=np.arange(32) == 3
    )
    plain, shaped = Runtime(read_cell(path), SLOTS, ROWS), Runtime(read_cell(path), SLOTS, ROWS)
    one, other = one_step(plain, batch), one_step(shaped, replace(batch, shaping=shaping))
    asks_nothing = np.flatnonzero(~np.isin(np.arange(32), [1, 2, 3]))
    assert (one.chosen == other.chosen)[asks_nothing].all()
    assert (one.log_probability == other.log_probability)[asks_nothing].all()
    for name in ("h", "c"):
        assert (plain.state(name) == shaped.state(name)).all()
    for row in (1, 2, 3):  # and one that asks gets the same in company as alone
        alone = shaping_of(
            1,
            [(0, 5, 2.0, 1.0)] if row == 1 else [],
            top_p=[0.5 if row == 2 else 1.0],
            min_p=[float(row == 3)],
        )
        runtime = Runtime(read_cell(path), SLOTS, ROWS)
        single = one_step(runtime, replace(rows_of(batch, np.array([row])), shaping=alone))
        assert single.chosen[0] == other.chosen[row]
        assert single.log_probability[0] == other.log_probability[row]


@pytest.mark.parametrize("best", [1, 3, 20, len(SYMBOLS), 500])
def test_the_likeliest_tokens_come_with_their_log_probabilities(path: Path, best: int) -> None:
    tokens = np.arange(6)
    result = one_step(
        Runtime(read_cell(path), SLOTS, ROWS), replace(batch_of(6, token=tokens), best=best)
    )
    logs = np.log(softmax(first_logits(path, tokens)))
    order = np.argsort(-logs, axis=1, kind="stable")[:, : result.best_token.shape[1]]
    assert result.best_token.shape[1] >= min(best, len(SYMBOLS))
    assert (result.best_token == order).all()
    expected = np.take_along_axis(logs, order, axis=1)
    np.testing.assert_allclose(result.best_log_probability, expected, atol=1e-5)


def test_a_state_goes_out_and_comes_back(path: Path) -> None:
    one, other = Runtime(read_cell(path), SLOTS, ROWS), Runtime(read_cell(path), SLOTS, ROWS)
    one_step(one, batch_of(1, token=[7], write_slot=[5]))
    other.write_state(9, one.read_state(5))
    assert other.read_state(9) == one.read_state(5)
    after = [
        one_step(runtime, batch_of(1, token=[3], read_slot=[slot], write_slot=[6], forced=[2]))
        for runtime, slot in ((one, 5), (other, 9))
    ]
    assert after[0].log_probability == after[1].log_probability
    with pytest.raises(InvalidRequest, match="shape"):
        other.write_state(9, one.read_state(5)[:1])
