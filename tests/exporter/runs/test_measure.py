from __future__ import annotations

import math

import pytest

from cellwire.exporter.runs.measure import Measure


def test_a_measure_has_all_units() -> None:
    measure = Measure(math.log(8))
    assert measure.bits == pytest.approx(3)
    assert measure.perplexity == pytest.approx(8)
    assert (
        measure.describe("character") == "2.0794 nats, perplexity 8.00, 3.0000 bits per character"
    )
    assert Measure(0.5, 0.875).describe("text") == "accuracy 87.50%, 0.5000 nats per text"
    assert Measure(1e6).perplexity == math.inf
    assert not Measure(math.nan).is_finite
