"""Arrays at fixed addresses, in the host's memory or a device's."""

from __future__ import annotations

import numpy as np

from cellwire.server.errors import StepFailed
from cellwire.server.runtime.card_lock import Held, on_device
from cellwire.server.runtime.compiled import Array, device_array
from cellwire.server.runtime.device import CPU, Device


class Buffer:
    """An array at a fixed address in a device's memory; on the CPU, `host` is that array."""

    def __init__(self, host: Array, device: Device = CPU) -> None:
        """Copy `host` to the device; MemoryError if it has no room."""
        self.host = host
        self.device = device
        self.shape, self.element = host.shape, host.dtype.type
        try:
            self._value = None if device.is_host else Held(device_array(host, device), device)
        except StepFailed as error:
            raise MemoryError(str(error.__cause__)) from error

    @property
    def address(self) -> int:
        """The address in the device's memory."""
        return int(self._value.value.data_ptr()) if self._value else self.host.ctypes.data

    def upload(self) -> None:
        """Copy `host` to the device; StepFailed if that fails."""
        if self._value:
            value = self._value.value
            with on_device(self.device):
                value.update_inplace(self.host)

    def download(self) -> Array:
        """Copy the array to `host` and return that; StepFailed if that fails."""
        if self._value:
            value = self._value.value
            with on_device(self.device):
                self.host = value.numpy()
        return self.host

    def leave_host(self) -> None:
        """Drop the host's copy, of an array that is never copied as a whole."""
        if self._value:
            self._drop_host()

    def close(self) -> None:
        """Give the memory back, after the bindings to it are closed."""
        if self._value:
            self._value.close()
        self._drop_host()

    def _drop_host(self) -> None:
        self.host = np.empty((0, *self.shape[1:]), self.element)
