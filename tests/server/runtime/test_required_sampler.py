"""A batch takes the cheapest program that suffices for all its rows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.server.program_runs import adjustments_of, batch_of
from tests.server.tiny_cell import SYMBOLS, lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.batch.step import StepBatch
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.runtime.required_sampler import required_sampler

ROWS = 4
NO_TOP_P = adjustments_of(ROWS, min_p=np.full(ROWS, 0.1))
TOP_P = adjustments_of(ROWS, top_p=[1, 1, 0.5, 1])
SOME_TOP_K = [0, 3, 0, 0]

CASES = [
    (batch_of(ROWS, forced=np.zeros(ROWS)), SamplerVariant.FORCED, 0),
    (batch_of(ROWS), SamplerVariant.PLAIN, 0),
    (batch_of(ROWS, top_k=np.full(ROWS, 3)), SamplerVariant.TOP_K, 4),
    (batch_of(ROWS, top_k=np.full(ROWS, 9_999)), SamplerVariant.TOP_K, len(SYMBOLS)),
    (batch_of(ROWS, top_k=SOME_TOP_K), SamplerVariant.RANKING, 4),
    (replace(batch_of(ROWS), top_token_count=5), SamplerVariant.RANKING, 8),
    (replace(batch_of(ROWS), adjustments=NO_TOP_P), SamplerVariant.ADJUSTED, 0),
    (
        replace(batch_of(ROWS, top_k=SOME_TOP_K), adjustments=NO_TOP_P),
        SamplerVariant.ADJUSTED_TOP_K,
        4,
    ),
    (
        replace(batch_of(ROWS), adjustments=NO_TOP_P, top_token_count=1),
        SamplerVariant.ADJUSTED_RANKING,
        1,
    ),
    (replace(batch_of(ROWS), adjustments=TOP_P), SamplerVariant.TOP_P, 0),
    (
        replace(batch_of(ROWS, top_k=SOME_TOP_K), adjustments=TOP_P),
        SamplerVariant.TOP_P_TOP_K,
        4,
    ),
    (
        replace(batch_of(ROWS, top_k=SOME_TOP_K), adjustments=TOP_P, top_token_count=5),
        SamplerVariant.TOP_P_RANKING,
        8,
    ),
]


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return read_cell(write_cell(tmp_path_factory.mktemp("cell") / "cell.onnx", lstm_cell(5)))


@pytest.mark.parametrize(("batch", "variant", "limit"), CASES)
def test_the_variant_and_the_limit(
    cell: Cell, batch: StepBatch, variant: SamplerVariant, limit: int
) -> None:
    assert required_sampler(batch, cell) == (variant, limit)


def test_few_numbers_of_tokens_are_ranked(tmp_path: Path) -> None:
    """Each is bound to arrays of its own; but ranking more than are needed takes longer."""
    symbols = tuple(chr(0x4E00 + number) for number in range(300))
    cell = read_cell(write_cell(tmp_path / "cell.onnx", lstm_cell(5, symbols)))
    limits = [required_sampler(batch_of(1, top_k=[k]), cell)[1] for k in range(1, 400)]
    assert sorted(set(limits)) == [
        *(1, 2, 4, 8, 16, 20, 24, 28, 32, 40, 48, 56, 64),
        *(80, 96, 112, 128, 160, 192, 224, 256, 300),
    ]
    assert all(limit >= min(k, 300) for k, limit in enumerate(limits, 1))
