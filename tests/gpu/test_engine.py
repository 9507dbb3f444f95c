"""An engine whose cell is on a device."""

from __future__ import annotations

from tests.gpu.devices import REAL_DEVICES
from tests.gpu.engine_texts import written
from tests.gpu.step_batches import MOST, on

from cellwire.model_file.cell import Cell
from cellwire.server.engine.engine import Engine
from cellwire.server.runtime.device import Device
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.operation_queue import Limits
from cellwire.server.state.arena import Arena


def engine(cell: Cell, device: Device, slots: int) -> Engine:
    arena = Arena(slots)
    runtime = Runtime(cell, arena.slots, MOST, on(device, fixed_batch=True))
    limits = Limits(read_ahead_tokens=1_000)
    return Engine(runtime, arena, limits, max_sessions=99, max_batch=MOST)


@REAL_DEVICES
def test_parked_sessions_go_on_as_if_they_had_not_been(cell: Cell, device: Device) -> None:
    assert written(engine(cell, device, 24)) == written(engine(cell, device, 1_000))
