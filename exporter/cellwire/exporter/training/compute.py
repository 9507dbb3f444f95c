"""The device and the precision of a training."""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal

import torch

from cellwire.exporter.errors import DeviceError

Device = Literal["auto", "cpu", "cuda"]
Precision = Literal["float32", "mixed"]


@dataclass(frozen=True, slots=True)
class Compute:
    """A device, and whether matrix products are computed in bfloat16.

    bfloat16 has the range of float32, so gradients need no scaling.
    """

    device: torch.device
    mixed: bool = False

    @classmethod
    def select(cls, device: Device, precision: Precision) -> Compute:
        """Return a device and a precision; DeviceError if this machine does not have them."""
        gpu = torch.cuda.is_available()
        if device == "cuda" and not gpu:
            raise DeviceError("torch finds no GPU; train on the CPU with --device cpu")
        selected = torch.device("cuda" if gpu and device != "cpu" else "cpu")
        if precision == "mixed":
            if selected.type != "cuda":
                raise DeviceError("mixed precision needs a GPU; leave out --precision mixed")
            if not torch.cuda.is_bf16_supported(including_emulation=False):
                raise DeviceError("this GPU has no bfloat16; leave out --precision mixed")
        return cls(selected, precision == "mixed")

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context for the forward pass of a training step."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)


CPU = Compute(torch.device("cpu"))
