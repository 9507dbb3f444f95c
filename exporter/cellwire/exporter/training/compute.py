"""Where a training computes, and in which numbers."""

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
    """A device, and whether matrix products are taken in bfloat16 there.

    bfloat16 has float32's range, so gradients need no scaling.
    """

    device: torch.device
    mixed: bool = False

    @classmethod
    def chosen(cls, device: Device, precision: Precision) -> Compute:
        """Return what was asked for; DeviceError if this machine does not have it."""
        gpu = torch.cuda.is_available()
        if device == "cuda" and not gpu:
            raise DeviceError("torch finds no GPU here; train on the CPU with --device cpu")
        chosen = torch.device("cuda" if gpu and device != "cpu" else "cpu")
        if precision == "mixed":
            if chosen.type != "cuda":
                raise DeviceError("mixed precision needs a GPU; leave out --precision mixed")
            if not torch.cuda.is_bf16_supported(including_emulation=False):
                raise DeviceError("this GPU has no bfloat16; leave out --precision mixed")
        return cls(chosen, precision == "mixed")

    def autocast(self) -> AbstractContextManager[object]:
        """Return the context in which a network is to be run while it learns."""
        return torch.autocast(self.device.type, torch.bfloat16, enabled=self.mixed)


CPU = Compute(torch.device("cpu"))
