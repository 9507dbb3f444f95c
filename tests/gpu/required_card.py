"""The card of these tests: where there is none, they are skipped, or fail."""

from __future__ import annotations

import os

import pytest

from cellwire.server.errors import NoCuda
from cellwire.server.runtime.cuda import Card, find_card

REQUIRED = "CELLWIRE_GPU"  # `make gpu` sets it


def required_card() -> Card:
    """Return the first card; without one, fail if a card is required, and skip otherwise."""
    try:
        return find_card(0)
    except NoCuda as missing:
        if os.environ.get(REQUIRED):
            pytest.fail(f"{REQUIRED} is set, and there is no card: {missing}", pytrace=False)
        pytest.skip(f"{missing}; on a machine with a card, run `make gpu`")
