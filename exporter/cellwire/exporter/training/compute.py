"""The device and the precision of a training."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from cellwire.exporter.errors import DeviceError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "tf32", "mixed"]


@dataclass(frozen=True, slots=True)
class Compute:
    """A device, and the precision of its matrix products.

    float32   as on the CPU
    tf32      float32 whose factors a GPU rounds to ten bits
    mixed     bfloat16 while training, tf32 elsewhere

    bfloat16 has the range of float32, so gradients need no scaling.
    """

    device: torch.device
    precision: Precision = "float32"

    @classmethod
    def select(cls, device: Device, precision: Precision) -> Compute:
        """Return a device and a precision; DeviceError if this machine does not have them."""
        gpu = torch.cuda.is_available()
        if device == "cuda" and not gpu:
            raise DeviceError("torch finds no GPU; train on the CPU with --device cpu")
        selected = torch.device("cuda" if gpu and device != "cpu" else "cpu")
        if precision != "float32" and selected.type != "cuda":
            raise DeviceError(f"{precision} precision needs a GPU; leave out --precision")
        if precision == "mixed" and not torch.cuda.is_bf16_supported(including_emulation=False):
            raise DeviceError("this GPU has no bfloat16; leave out --precision mixed")
        return cls(selected, precision)

    def set_products(self) -> None:
        """Set the precision of float32 products on a GPU, for this process."""
        # torch's default is half of each: cuDNN, which computes the cells, has TF32, cuBLAS has
        # not. Of torch's two interfaces, this one leaves what the other reads in order.
        allowed = self.precision != "float32"
        torch.backends.cuda.matmul.allow_tf32 = allowed
        torch.backends.cudnn.allow_tf32 = allowed

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context for the forward pass of a training step."""
        mixed = self.precision == "mixed"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=mixed)


CPU = Compute(torch.device("cpu"))
