"""Memory for arrays at fixed addresses and for constants: the host's, or a device's.

A device's memory comes from the allocator of a session that has no other purpose, and goes back to
the device with that session. The programs' own allocators would not do: a captured graph goes on
writing where its intermediate results were, though its session takes that place for free.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from cellwire.server.errors import StepFailed
from cellwire.server.programs.transfer_program import SHAPE, ZEROS, compose_zeros
from cellwire.server.runtime.binding import Binding
from cellwire.server.runtime.buffer import Buffer, DeviceBuffer
from cellwire.server.runtime.card_lock import Held, on_device
from cellwire.server.runtime.compiled import Array, Compiled, Constant, constant, constant_in
from cellwire.server.runtime.device import CPU, Device

Shape = tuple[int, ...]

# Of one run: CUDA's kernel counts them in 32 bits, and leaves the rest of more as it was.
_MOST_ZEROS = 2**30


class Memory:
    """The host's memory. Methods raise MemoryError or ValueError if there is no room."""

    device = CPU

    def buffer(self, shape: Shape, dtype: type[np.generic]) -> Buffer:
        """Return an array for the inputs or outputs of runs."""
        return Buffer(np.zeros(shape, dtype))

    def zeros(self, shape: Shape) -> Buffer:
        """Return an array of float32 zeros that is never copied as a whole."""
        return Buffer(np.zeros(shape, np.float32))

    def constant(self, values: Array) -> Constant:
        """Return a constant; on the host that is `values` itself, which must be writable."""
        return constant(values)

    def close(self) -> None:
        """Give back what is a device's memory, after all arrays in it are closed."""


class DeviceMemory(Memory):
    """A device's memory. Methods raise MemoryError if there is no room, and StepFailed."""

    def __init__(self, device: Device) -> None:
        """Make the session; ValueError if that is impossible."""
        self.device = device
        self._zeroing = Compiled(compose_zeros(), device=device)

    def buffer(self, shape: Shape, dtype: type[np.generic]) -> Buffer:
        """Return an array for the inputs or outputs of runs."""
        return DeviceBuffer(
            self._allocate(shape, dtype), shape, np.zeros(shape, dtype), self.device
        )

    def zeros(self, shape: Shape) -> Buffer:
        """Return an array that was filled on the device: no zeros cross the bus."""
        nothing = np.empty((0, *shape[1:]), np.float32)
        buffer = DeviceBuffer(self._allocate(shape, np.float32), shape, nothing, self.device)
        most = max(1, _MOST_ZEROS // prod(shape[1:]))
        for first in range(0, shape[0], most):
            self._clear(buffer.rows(first, min(most, shape[0] - first)))
        return buffer

    def _clear(self, buffer: Buffer) -> None:
        binding = Binding(self._zeroing)
        binding.input(SHAPE, np.array(buffer.shape))
        binding.write(ZEROS, buffer)
        binding.run()
        binding.close()

    def constant(self, values: Array) -> Constant:
        """Return a constant, of which the host keeps no copy."""
        held = self._allocate(values.shape, values.dtype.type)
        value = held.value
        with on_device(self.device):
            value.update_inplace(values)
        return constant_in(held, self.device)

    def _allocate(self, shape: Shape, dtype: type[np.generic]) -> Held[Any]:
        session, device = self._zeroing.session, self.device
        try:
            with on_device(device):
                return Held(
                    session.create_ortvalue_from_shape_and_type(
                        shape, dtype, device.kind, device.number
                    ),
                    device,
                )
        except StepFailed as error:
            raise MemoryError(str(error.__cause__)) from error

    def close(self) -> None:
        """Give the memory back to the device, after all arrays in it are closed."""
        self._zeroing.close()


def memory_of(device: Device) -> Memory:
    """Return a device's memory; ValueError if that is impossible."""
    return Memory() if device.is_host else DeviceMemory(device)
