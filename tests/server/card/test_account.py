"""What a runtime takes of the card and of the host, and what it gives back."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.server.card import kernels
from tests.server.card.card import Card
from tests.server.card.conftest import MOST, SLOTS, RuntimeOn
from tests.server.card.results import random_batch
from tests.server.card.test_searches import first_batch
from tests.server.program_runs import adjustments_of
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.batch.completion_end import MAX_LENGTH_ONLY, CompletionEnd
from cellwire.server.errors import NoCuda
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.runtime import compiled, memory
from cellwire.server.runtime import cuda as cuda_module
from cellwire.server.runtime.cell_trial import check_cell
from cellwire.server.runtime.cuda import find_card
from cellwire.server.runtime.device import Device, Execution
from cellwire.server.runtime.runtime import Runtime


@pytest.fixture(scope="module")
def large_cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    """A cell of some 100 KB, most of it in three weights."""
    path = tmp_path_factory.mktemp("cell") / "cell.onnx"
    return read_cell(write_cell(path, lstm_cell(64)))


def weight_bytes(cell: Cell) -> int:
    tensors = cell.graph.graph.initializer
    return sum(4 * int(np.prod(tensor.dims)) for tensor in tensors)


def used_runtime(cell: Cell, device: Device) -> Any:  # noqa: ANN401  # until it can be closed
    """A runtime that has run every kind of program."""
    runtime = Runtime(cell, SLOTS, MOST, Execution.on(device, threads=4))
    for variant in SamplerVariant:
        for steps in (1, 4):
            runtime.step(random_batch(cell, variant, steps, 3, 1))
    for ending in (MAX_LENGTH_ONLY, CompletionEnd(frozenset({1, 2}))):
        runtime.step_beams(first_batch(4, 2, ending))
    runtime.write_state(5, runtime.read_state(4))
    return runtime


def test_every_weight_is_on_the_card_once(card: Card, large_cell: Cell, cuda: Device) -> None:
    runtime = used_runtime(large_cell, cuda)
    assert len(card.sessions) > 10
    names = {tensor.name for tensor in large_cell.graph.graph.initializer}
    assert set(card.copies_of_weights(names).values()) == {1}
    runtime.close()


def test_programs_in_the_host_hold_no_weights(card: Card, large_cell: Cell, cuda: Device) -> None:
    runtime = used_runtime(large_cell, cuda)
    assert card.host_bytes < len(card.sessions) * weight_bytes(large_cell) / 4
    runtime.close()


def test_a_program_on_the_card_starts_no_threads(
    card: Card, large_cell: Cell, cuda: Device
) -> None:
    runtime = used_runtime(large_cell, cuda)
    assert card.threads == 0
    runtime.close()


def test_a_closed_runtime_leaves_nothing_on_the_card(
    card: Card, large_cell: Cell, cuda: Device
) -> None:
    gc.disable()  # what is left must not wait for it
    try:
        runtime = used_runtime(large_cell, cuda)
        runtime.close()
        assert not card.sessions
        assert not card.bindings
        assert not card.values
    finally:
        gc.enable()
    assert card.memory.reserved_bytes == card.module.reserved_bytes
    assert card.faults == []


def test_states_are_given_back(card: Card, large_cell: Cell, cuda: Device) -> None:
    """Not kept by an arena that never shrinks."""
    before = card.module.reserved_bytes
    runtime: Any = Runtime(large_cell, 20_000, MOST, Execution.on(cuda, threads=1))
    assert card.memory.reserved_bytes > 20_000 * large_cell.state_bytes
    runtime.close()
    assert card.memory.reserved_bytes < before + 4 * 2**20


def test_states_are_zero_beyond_what_a_fill_can_count(
    cell: Cell, cuda: Device, runtime_on: RuntimeOn, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "MOST_FILLED", 60)
    monkeypatch.setattr(memory, "_MOST_ZEROS", 50)  # seven rows
    runtime = runtime_on(cell, cuda)
    for slot in range(SLOTS):
        assert not any(map(any, runtime.read_state(slot)))


def test_batches_with_some_more_changes_are_the_same_graph(
    card: Card, cell: Cell, cuda: Device, runtime_on: RuntimeOn
) -> None:
    """A repetition penalty makes more changes with every token."""
    runtime = runtime_on(cell, cuda)
    for changes in (3, 5, 20, 60):
        batch = random_batch(cell, SamplerVariant.ADJUSTED, 1, 2, 1)
        places = [(place % 2, place // 2, 1.5, 0.0) for place in range(changes)]
        runtime.step(replace(batch, adjustments=adjustments_of(2, places)))
    assert sum(session.graph_count for session in card.sessions) == 1


def test_a_trial_leaves_nothing_on_the_card(card: Card, large_cell: Cell, cuda: Device) -> None:
    check_cell(large_cell, Execution.on(cuda, threads=4))
    assert not card.sessions
    assert card.faults == []


@pytest.fixture
def machine(card: Card, monkeypatch: pytest.MonkeyPatch) -> Card:
    """A machine with the card and all libraries."""
    monkeypatch.setattr(cuda_module, "_describe", lambda _: ("A Card", 2**28, 2**28))
    monkeypatch.setattr(cuda_module, "_loads", lambda _: True)
    return card


def test_the_card_is_found(machine: Card) -> None:
    del machine
    assert find_card(0).name == "A Card"


@pytest.mark.parametrize("version", ["1.30.0", "1.9.2"])
def test_onnxruntime_before_1_31_is_refused(
    machine: Card, monkeypatch: pytest.MonkeyPatch, version: str
) -> None:
    del machine
    monkeypatch.setattr(compiled, "VERSION", version)
    with pytest.raises(NoCuda, match=r"1\.31"):
        find_card(0)


def test_a_newer_onnxruntime_is_not(machine: Card, monkeypatch: pytest.MonkeyPatch) -> None:
    del machine
    monkeypatch.setattr(compiled, "VERSION", "1.100.0")
    assert find_card(0).name == "A Card"
