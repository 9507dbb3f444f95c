"""The devices of these tests: a card, and the CPU in its place.

What is said about a card is first tried on the CPU, with the card's fixed shapes, so that a test is
not wrong when a card meets it.
"""

from __future__ import annotations

import pytest
from tests.gpu.required_card import required_card
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.runtime.cuda import Card
from cellwire.server.runtime.device import CPU, Device


@pytest.fixture(scope="session")
def card() -> Card:
    return required_card()


@pytest.fixture(scope="session")
def cuda(card: Card) -> Device:
    return Device("cuda", card.number)


@pytest.fixture(scope="session", params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> Device:
    if request.param == "cpu":
        return CPU
    cuda: Device = request.getfixturevalue("cuda")
    return cuda


@pytest.fixture(scope="session")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return read_cell(write_cell(tmp_path_factory.mktemp("cell") / "cell.onnx", lstm_cell(64)))
