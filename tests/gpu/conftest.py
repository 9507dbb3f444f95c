"""A card, or the reason why there is none."""

from __future__ import annotations

import pytest
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.errors import NoCuda
from cellwire.server.runtime.cuda import Card, find_card
from cellwire.server.runtime.device import Device


@pytest.fixture(scope="session")
def card() -> Card:
    try:
        return find_card(0)
    except NoCuda as missing:
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def cuda(card: Card) -> Device:
    return Device("cuda", card.number)


@pytest.fixture(scope="session")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Cell:
    return read_cell(write_cell(tmp_path_factory.mktemp("cell") / "cell.onnx", lstm_cell(64)))
