from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tests.exporter.trainings import corpus, recipe

from cellwire.exporter.errors import DeviceError
from cellwire.exporter.training.compute import CPU, Compute, Precision
from cellwire.exporter.training.start import start_training


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
            assert Compute.select("auto", "mixed").precision == "mixed"
        else:
            with pytest.raises(DeviceError, match="no bfloat16"):
                Compute.select("auto", "mixed")


@pytest.mark.parametrize("precision", ["tf32", "mixed"])
def test_rounded_products_need_a_gpu(precision: Precision) -> None:
    with pytest.raises(DeviceError, match=f"{precision} precision needs a GPU"):
        Compute.select("cpu", precision)


@pytest.fixture
def torch_default() -> Iterator[None]:
    """Torch's own setting, before a test and after it."""
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True
    yield
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = True


@pytest.mark.usefixtures("torch_default")
@pytest.mark.parametrize(
    ("precision", "rounds"), [("float32", False), ("tf32", True), ("mixed", True)]
)
def test_float32_on_a_gpu_is_not_tf32(precision: Precision, *, rounds: bool) -> None:
    Compute(torch.device("cuda"), precision).set_products()
    assert torch.backends.cuda.matmul.allow_tf32 is rounds
    assert torch.backends.cudnn.allow_tf32 is rounds
    # Raises if the two interfaces contradict each other.
    assert torch.get_float32_matmul_precision() == ("high" if rounds else "highest")


@pytest.mark.usefixtures("torch_default")
def test_a_training_sets_the_precision_of_its_products(tmp_path: Path) -> None:
    start_training(corpus(), recipe("run.steps=1"), tmp_path / "run", None, CPU)
    assert not torch.backends.cudnn.allow_tf32
