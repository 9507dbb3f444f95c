"""The way programs are run on a device."""

from __future__ import annotations

import pytest

from cellwire.server.runtime.device import CPU, Device, Execution


def test_a_card_runs_fixed_shapes_as_graphs() -> None:
    execution = Execution.on(Device("cuda"), threads=2)
    assert (execution.fixed_shape, execution.captured) == (True, True)
    with pytest.raises(ValueError, match="fixed shapes only"):
        Execution(Device("cuda"))


@pytest.mark.parametrize("fixed_batch", [False, True])
def test_the_cpu_runs_any_shape_unless_the_batch_is_fixed(fixed_batch: bool) -> None:  # noqa: FBT001
    execution = Execution.on(CPU, threads=2, fixed_batch=fixed_batch)
    assert execution.fixed_shape == fixed_batch
    assert not execution.captured
