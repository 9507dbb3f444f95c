"""The devices of these tests: a card, and two in its place.

What is said about a card is first tried on the CPU, with a card's fixed shapes, and on a stand-in
for ONNX Runtime on a card, so that a test is not wrong when a card meets it.
"""

from __future__ import annotations

import pytest
from tests.gpu.devices import DEVICES, STAND_IN
from tests.gpu.required_card import required_card
from tests.server.card.conftest import card as stand_in
from tests.server.card.conftest import ort
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.runtime.cuda import Card
from cellwire.server.runtime.device import CPU, Device

__all__ = ["ort", "stand_in"]  # fixtures from elsewhere


@pytest.fixture(scope="session")
def card() -> Card:
    return required_card()


@pytest.fixture(scope="session")
def cuda(card: Card) -> Device:
    return Device("cuda", card.number)


@pytest.fixture(params=DEVICES)
def device(request: pytest.FixtureRequest) -> Device:
    if request.param == "cpu":
        return CPU
    if request.param == STAND_IN:
        request.getfixturevalue("stand_in")
        return Device("cuda")
    cuda: Device = request.getfixturevalue("cuda")
    return cuda


@pytest.fixture(scope="session")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return read_cell(write_cell(tmp_path_factory.mktemp("cell") / "cell.onnx", lstm_cell(64)))
