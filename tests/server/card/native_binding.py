"""Inputs and outputs bound for a session's runs."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from weakref import finalize

import numpy as np
from tests.server.card.memory import Array, Block
from tests.server.card.native_value import NativeValue

if TYPE_CHECKING:
    from tests.server.card.native_session import NativeSession


class OrtDevice(Protocol):
    """onnxruntime's own."""

    def device_type(self) -> int: ...
    def cpu(self) -> int: ...


@dataclass(frozen=True, eq=False)
class Bound:
    """An array that an input or an output is bound to."""

    array: Array
    block: Block | None  # None in the host's memory
    copied: bool = False  # when it was bound: a later change of the original is not seen

    def check(self) -> None:
        if self.block is not None and not self.block.alive:
            raise RuntimeError("memory is bound that was freed")


class NativeBinding:
    """Arrays by the names of inputs and outputs."""

    def __init__(self, session: NativeSession) -> None:
        self._session = session
        self._card = session.card
        self.inputs: dict[str, Bound] = {}
        self.outputs: dict[str, Bound] = {}
        self._card.bindings.add(self)

    def bind_input(
        self,
        name: str,
        device: OrtDevice,
        element: type[np.generic],
        shape: Sequence[int],
        address: int,
    ) -> None:
        """Bind an address; the array is copied at once if it is wanted on the other side."""
        bound = self._bound(device, element, shape, address)
        self._session.program.check_input(name, bound.array)
        in_host = name in self._session.placement.host_inputs
        if in_host != (bound.block is None):
            self._card.use(f"{name} is copied to where it is wanted")
            bound = self._copy(bound.array, in_host=in_host)
        self.inputs[name] = bound

    def _copy(self, array: Array, *, in_host: bool) -> Bound:
        if in_host:
            return Bound(array.copy(), None, copied=True)
        block = self._card.memory.allocate(array.shape, array.dtype, self._session.allocator)
        block.array[...] = array
        bound = Bound(block.array, block, copied=True)
        finalize(bound, block.free)
        return bound

    def bind_output(
        self,
        name: str,
        device: OrtDevice,
        element: type[np.generic],
        shape: Sequence[int],
        address: int,
    ) -> None:
        """Bind an address, in any memory."""
        self._session.program.check_output(name)
        self.outputs[name] = self._bound(device, element, shape, address)

    def bind_ortvalue_input(self, name: str, value: NativeValue) -> None:
        self._session.program.check_input(name, value.block.array)
        self.inputs[name] = Bound(value.block.array, value.block)

    def bind_ortvalue_output(self, name: str, value: NativeValue) -> None:
        self._session.program.check_output(name)
        self.outputs[name] = Bound(value.block.array, value.block)

    def _bound(
        self,
        device: OrtDevice,
        element: type[np.generic],
        shape: Sequence[int],
        address: int,
    ) -> Bound:
        if device.device_type() != device.cpu():
            block, array = self._card.memory.view(address, tuple(shape), element)
            return Bound(array, block)
        if self._card.memory.find(address):
            self._card.fault("an address of the card is bound as one of the host")
        count = int(np.prod(shape))
        raw = (ctypes.c_byte * (count * np.dtype(element).itemsize)).from_address(address)
        return Bound(np.frombuffer(memoryview(raw), element, count).reshape(shape), None)

    def synchronize_inputs(self) -> None:
        self._card.use("inputs are waited for")

    def synchronize_outputs(self) -> None:
        self._card.use("outputs are waited for")
        self._session.finish()

    def clear_binding_inputs(self) -> None:
        self.inputs.clear()

    def clear_binding_outputs(self) -> None:
        self.outputs.clear()
