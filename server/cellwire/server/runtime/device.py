"""Where programs run, and how."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Provider = Literal["auto", "cuda", "cpu"]


@dataclass(frozen=True, slots=True)
class Device:
    """The host's processor, or a CUDA card."""

    kind: Literal["cpu", "cuda"] = "cpu"
    number: int = 0

    @property
    def is_host(self) -> bool:
        """Whether programs use the host's memory."""
        return self.kind == "cpu"


CPU = Device()


@dataclass(frozen=True, slots=True)
class Execution:
    """How a cell's programs are run.

    Padded, a batch is filled up with rows that write the trash slot, to the next power of two, so
    that there are few sizes, each with arrays of its own that never move: that is what can be
    captured as a CUDA graph. With `one_size`, all batches are filled up to the largest, so that a
    row is computed by the same kernels whatever the load.
    """

    device: Device = CPU
    threads: int = 1  # of the CPU provider
    padded: bool = False
    fixed_batch: bool = False
    captured: bool = False  # as CUDA graphs

    @classmethod
    def on(cls, device: Device, threads: int, *, fixed_batch: bool = False) -> Execution:
        """Return what suits a device."""
        cuda = not device.is_host
        return cls(
            device, threads, padded=cuda or fixed_batch, fixed_batch=fixed_batch, captured=cuda
        )
