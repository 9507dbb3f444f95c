"""The devices that the fixture `device` returns, one after the other."""

from __future__ import annotations

import pytest

STAND_IN = "stand-in"
_CUDA = pytest.param("cuda", marks=pytest.mark.gpu)

DEVICES = ("cpu", STAND_IN, _CUDA)
# The stand-in computes with numpy: not for what is large, and not for what is about memory or bits.
REAL_DEVICES = pytest.mark.parametrize("device", ["cpu", _CUDA], indirect=True)
