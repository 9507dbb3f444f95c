"""An engine whose cell is on a device."""

from __future__ import annotations

import numpy as np
import pytest
from tests.gpu.devices import REAL_DEVICES
from tests.gpu.engine_texts import written
from tests.gpu.step_batches import MOST, SLOTS, assert_same, drawn, on, states

from cellwire.model_file.cell import Cell
from cellwire.server.engine import scheduler
from cellwire.server.engine.engine import Engine
from cellwire.server.runtime.device import Device
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.operation_queue import Limits
from cellwire.server.state.arena import Arena


def engine(cell: Cell, device: Device, slots: int = 1_000, *, captured: bool = True) -> Engine:
    arena = Arena(slots)
    execution = on(device, fixed_batch=True, captured=captured)
    runtime = Runtime(cell, arena.slots, MOST, execution)
    limits = Limits(read_ahead_tokens=1_000)
    return Engine(runtime, arena, limits, max_sessions=99, max_batch=MOST)


@REAL_DEVICES
def test_parked_sessions_go_on_as_if_they_had_not_been(cell: Cell, device: Device) -> None:
    assert written(engine(cell, device, 24)) == written(engine(cell, device))


@REAL_DEVICES
def test_texts_are_the_same_when_the_host_works_while_the_card_does(
    cell: Cell, device: Device, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A captured program's runs go on alone, in two halves of the sessions in turn."""
    monkeypatch.setattr(scheduler, "_ROWS_TO_HALVE", 4)
    texts = [written(engine(cell, device, captured=c), together=True) for c in (False, True)]
    assert texts[0] == texts[1]
    assert texts[0] == written(engine(cell, device))


def test_a_run_in_flight_is_not_disturbed_by_the_next(cell: Cell, device: Device) -> None:
    plain, overlapping = (
        Runtime(cell, SLOTS, MOST, on(device, captured=captured)) for captured in (False, True)
    )
    for seed in range(20):
        slots = np.random.default_rng(seed).permutation(np.arange(2, SLOTS))
        batches = [
            drawn(cell, 2 * seed + n, 9, SUPPORTED_STEPS[seed % 3], read_slot=s, write_slot=s)
            for n, s in enumerate((slots[:9], slots[9:18]))
        ]
        runs = [overlapping.start(batch) for batch in batches]
        for batch, run in zip(batches, runs, strict=True):
            assert_same(plain.step(batch), run.wait(), batch, within=0)
    assert (states(plain)[2:] == states(overlapping)[2:]).all()
