from __future__ import annotations

import pytest
import torch

from cellwire.exporter.errors import DeviceError
from cellwire.exporter.training.compute import CPU, Compute


def test_auto_selects_a_gpu_if_the_machine_has_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for available, device in ((True, "cuda"), (False, "cpu")):
        monkeypatch.setattr(torch.cuda, "is_available", lambda available=available: available)
        assert Compute.select("auto", "float32") == Compute(torch.device(device))
        assert Compute.select("cpu", "float32") == CPU


def test_mixed_precision_needs_a_gpu_with_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    for available in (True, False):
        monkeypatch.setattr(
            torch.cuda, "is_bf16_supported", lambda available=available, **_: available
        )
        if available:
            assert Compute.select("auto", "mixed").mixed
        else:
            with pytest.raises(DeviceError, match="no bfloat16"):
                Compute.select("auto", "mixed")
    with pytest.raises(DeviceError, match="needs a GPU"):
        Compute.select("cpu", "mixed")
