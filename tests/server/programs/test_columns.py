"""The table of columns is whole, and packs every number of a batch where the program reads it."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from cellwire.server.batch.step import LogitAdjustments, StepBatch
from cellwire.server.programs.columns import COLUMNS, Axes
from cellwire.server.programs.packing import packings
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS


def test_every_field_of_a_batch_has_one_column() -> None:
    batch = {field.name for field in fields(StepBatch)} - {"adjustments", "top_token_count"}
    adjustments = {f"adjustments.{field.name}" for field in fields(LogitAdjustments)}
    assert sorted(column.source for column in COLUMNS) == sorted(batch | adjustments)
    assert len({column.name for column in COLUMNS}) == len(COLUMNS)


@pytest.mark.parametrize("steps", SUPPORTED_STEPS)
def test_a_card_takes_packed_columns_apart_in_one_kernel(steps: int) -> None:
    """Its Split has the addresses of up to 32 parts as arguments."""
    assert all(sum(packing.lengths) <= 32 for packing in packings(COLUMNS, steps))


@pytest.mark.parametrize("steps", [1, 4])
def test_packed_columns_share_no_line_and_leave_none_empty(steps: int) -> None:
    packed = packings(COLUMNS, steps)
    assert len(packed) == 2
    for packing in packed:
        lines = [np.arange(sum(packing.lengths))[place] for _, place in packing.lines()]
        assert np.concatenate(lines).tolist() == list(range(sum(packing.lengths)))
    columns = [column for packing in packed for column, _ in packing.lines()]
    assert set(columns) == {column for column in COLUMNS if column.axes is not Axes.CHANGE}
