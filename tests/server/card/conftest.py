"""A card that is not there, and onnxruntime with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.server.card.card import Card
from tests.server.card.stand_in import StandIn
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.runtime import card_lock, compiled
from cellwire.server.runtime.device import Device, Execution
from cellwire.server.runtime.runtime import Runtime

SLOTS, MOST = 80, 8

RuntimeOn = Callable[..., Runtime]
"""Makes a runtime of a cell on a device; it is closed after the test."""


@pytest.fixture
def ort(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn(Card(card_lock._CARD))
    monkeypatch.setattr(compiled, "ort", stand_in)
    return stand_in


@pytest.fixture
def card(ort: StandIn) -> Iterator[Card]:
    card = ort.card
    yield card
    assert card.faults == []


@pytest.fixture
def cuda(card: Card) -> Device:
    del card
    return Device("cuda")


@pytest.fixture
def runtime_on(card: Card) -> Iterator[RuntimeOn]:
    del card
    made: list[Runtime] = []

    def make(
        cell: Cell, device: Device, *, slots: int = SLOTS, fixed_batch: bool = False
    ) -> Runtime:
        made.append(Runtime(cell, slots, MOST, Execution.on(device, 1, fixed_batch=fixed_batch)))
        return made[-1]

    yield make
    for runtime in made:
        runtime.close()


@pytest.fixture(scope="session")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return read_cell(write_cell(tmp_path_factory.mktemp("cell") / "cell.onnx", lstm_cell(7)))
