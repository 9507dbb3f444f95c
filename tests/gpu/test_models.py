"""Models that come and go on a device, beside others that run."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from tests.bench.child import resident_bytes
from tests.gpu.devices import REAL_DEVICES
from tests.gpu.engine_texts import written
from tests.gpu.step_batches import MOST, SLOTS, assert_same, drawn, on
from tests.server.tiny_cell import lstm_cell, vast_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.model_file.errors import BadModel
from cellwire.server.host.config import Config
from cellwire.server.host.placement import Placement
from cellwire.server.host.registry import Registry
from cellwire.server.runtime import cuda
from cellwire.server.runtime.device import Device
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS
from cellwire.server.runtime.runtime import Runtime

MIB = 2**20
STATES_BYTES = 512 * MIB


@pytest.fixture
def registry(tmp_path: Path, cell: Cell, device: Device) -> Iterator[Registry]:
    """It serves the cell, and can load `other`, whose states take STATES_BYTES."""
    other = read_cell(write_cell(tmp_path / "other.onnx", lstm_cell(64, seed=1)))
    config = Config(
        models=(cell.path,),
        model_folder=tmp_path,
        provider=device.kind,
        max_batch=MOST,
        max_slots=STATES_BYTES // other.state_bytes,
    )
    registry = Registry(config, Placement(device, ""), lambda *_: None, lambda _: None)
    registry.start()
    yield registry
    registry.stop()


def load_and_unload(registry: Registry, device: Device) -> int:
    """Serve a model for a while; return how much memory was in use."""
    model = registry.load("other")
    registry.add(model)
    model.loop.call(written).result()
    used = used_bytes(device)
    registry.remove("other").loop.stop()
    return used


def used_bytes(device: Device) -> int:
    """Return the memory in use: of the host, by this process; of a card, up to a constant."""
    if device.is_host:
        return resident_bytes(os.getpid())
    return -cuda.free_bytes(device.number)  # all that counts is the difference


@REAL_DEVICES
@pytest.mark.slow
def test_a_model_unloaded_gives_its_memory_back(registry: Registry, device: Device) -> None:
    for _ in range(2):  # libraries and their handles stay
        load_and_unload(registry, device)
    before = used_bytes(device)
    for _ in range(3):
        loaded = load_and_unload(registry, device)
        # Zeros of the host take no memory until they are written.
        assert device.is_host or loaded - before >= STATES_BYTES
        assert used_bytes(device) - before <= STATES_BYTES / 8


@REAL_DEVICES
@pytest.mark.slow
def test_models_come_and_go_while_another_captures(
    registry: Registry, cell: Cell, device: Device
) -> None:
    """While a graph is captured, an allocation or a release by another thread would spoil it."""
    plain = Runtime(cell, SLOTS, MOST, on(device, captured=False))
    with ThreadPoolExecutor(1) as pool:
        others = [pool.submit(load_and_unload, registry, device) for _ in range(3)]
        seed = 0
        while not all(other.done() for other in others):
            replayed = Runtime(cell, SLOTS, MOST, on(device))
            for steps in SUPPORTED_STEPS:
                for rows in (1, 2, 5, 9, 17):
                    # From the zero state, which is all that the two have in common.
                    batch = drawn(cell, seed, rows, steps, read_slot=np.ones(rows))
                    expected = plain.step(batch)
                    for _ in range(3):
                        assert_same(expected, replayed.step(batch), batch, within=0)
                    seed += 1
        for other in others:
            other.result()


@REAL_DEVICES
def test_a_model_without_room_for_its_states_is_refused_and_others_run_on(
    tmp_path: Path, cell: Cell, device: Device, request: pytest.FixtureRequest
) -> None:
    running = Runtime(cell, SLOTS, MOST, on(device))
    batch = drawn(cell, 1, 4, 4, read_slot=np.ones(4))
    before = running.step(batch)
    # One tensor, so that nothing is left of a part that still had room.
    vast = read_cell(write_cell(tmp_path / "vast.onnx", vast_cell(1_024)))
    room = 2**60 if device.is_host else request.getfixturevalue("card").total_bytes
    with pytest.raises(BadModel, match="there is no memory for"):
        Runtime(vast, room // vast.state_bytes + 1, MOST, on(device))
    assert_same(before, running.step(batch), batch, within=0)
