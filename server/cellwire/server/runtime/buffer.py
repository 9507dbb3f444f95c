"""Arrays at fixed addresses, in the host's memory or a device's."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from cellwire.server.runtime.card_lock import Held, on_device
from cellwire.server.runtime.compiled import Array
from cellwire.server.runtime.device import CPU, Device


class Buffer:
    """An array at a fixed address in the host's memory."""

    device = CPU

    def __init__(self, host: Array) -> None:
        self.host = host
        self.shape, self.element = host.shape, host.dtype.type

    @property
    def address(self) -> int:
        """The address in the device's memory."""
        return self.host.ctypes.data

    def upload(self) -> None:
        """Copy `host` to the device's memory, if that is another; StepFailed if that fails."""

    def download(self) -> Array:
        """Copy the array to `host` and return that; StepFailed if that fails."""
        return self.host

    def close(self) -> None:
        """Give the memory back, after the bindings to it are closed."""
        self.host = np.empty((0, *self.shape[1:]), self.element)


class DeviceBuffer(Buffer):
    """An array at a fixed address in a device's memory; `host` is a copy of it."""

    def __init__(
        self,
        value: Held[Any],
        shape: tuple[int, ...],
        host: Array,
        device: Device,
        offset_bytes: int = 0,
    ) -> None:
        """`value` is the array as ONNX Runtime holds it; `host` is empty if it is never copied."""
        super().__init__(host)
        self.shape, self.device = shape, device
        self._value = value
        self._offset_bytes = offset_bytes

    @property
    def address(self) -> int:
        """The address in the device's memory."""
        return int(self._value.value.data_ptr()) + self._offset_bytes

    def rows(self, first: int, count: int) -> DeviceBuffer:
        """Return `count` of the rows of an array that is never copied, in the same memory."""
        nothing = self.host[:0]
        offset_bytes = first * prod(self.shape[1:]) * nothing.itemsize
        return DeviceBuffer(
            self._value, (count, *self.shape[1:]), nothing, self.device, offset_bytes
        )

    def upload(self) -> None:
        """Copy `host` to the device's memory; StepFailed if that fails."""
        value = self._value.value
        with on_device(self.device):
            value.update_inplace(self.host)

    def download(self) -> Array:
        """Copy the array to `host` and return that; StepFailed if that fails."""
        value = self._value.value
        with on_device(self.device):
            self.host = value.numpy()
        return self.host

    def close(self) -> None:
        """Give the memory back, after the bindings to it are closed."""
        self._value.close()
        super().close()
