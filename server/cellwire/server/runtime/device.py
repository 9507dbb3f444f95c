"""Devices that programs run on, and the way they are run."""

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
    """The way a cell's programs are run."""

    device: Device = CPU
    threads: int = 1  # of the CPU provider
    # Batches are padded to a power of two, so that there are few sizes, each with arrays at fixed
    # addresses. A CUDA graph can be captured for each.
    fixed_shape: bool = False
    # All batches are padded to the largest, so that a row is computed by the same kernels at any
    # load. Implies a fixed shape.
    fixed_batch: bool = False
    captured: bool = False  # as CUDA graphs

    def __post_init__(self) -> None:
        if not self.device.is_host and not self.fixed_shape:
            raise ValueError("a card runs batches of fixed shapes only")

    @classmethod
    def on(cls, device: Device, threads: int, *, fixed_batch: bool = False) -> Execution:
        """Return the usual way on a device: fixed shapes and CUDA graphs on a card."""
        cuda = not device.is_host
        return cls(
            device, threads, fixed_shape=cuda or fixed_batch, fixed_batch=fixed_batch, captured=cuda
        )
