"""Arrays bound to a program's inputs and outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from cellwire.server.programs.program import ARENA, NEXT_ARENA
from cellwire.server.runtime.buffer import Buffer
from cellwire.server.runtime.card_lock import Held, on_device
from cellwire.server.runtime.card_wait import wait_for_card
from cellwire.server.runtime.compiled import Array, Compiled
from cellwire.server.runtime.device import CPU


class Binding:
    """Arrays that a program reads and writes in place.

    The binding keeps its arrays alive; their addresses must not change. A captured program becomes
    a CUDA graph in a binding's first run, for the sizes of its arrays. Capturing executes the
    program several times, so a captured binding's first run may write only the trash slot. Later
    runs replay the graph, and can be started and waited for.

    All methods raise StepFailed if the runtime fails.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._device = compiled.device
        self._compiled = compiled
        with on_device(self._device):
            self._binding = Held(compiled.session.io_binding(), self._device)
        self._bound: list[Buffer | Array] = []
        self._host_inputs: list[tuple[str, Array]] = []
        self._options = compiled.run_options()

    def bind_arenas(self, arenas: Mapping[str, Buffer]) -> None:
        """Bind each state's arena as input and as output, so that it is updated in place."""
        for name, arena in arenas.items():
            self.read(ARENA + name, arena)
            self.write(NEXT_ARENA + name, arena)

    def read(self, name: str, buffer: Buffer) -> None:
        """Bind an input to a buffer."""
        self._bound.append(buffer)
        with on_device(self._device):
            _bind(self._binding.value.bind_input, name, buffer)

    def write(self, name: str, buffer: Buffer) -> None:
        """Bind an output to a buffer."""
        self._bound.append(buffer)
        with on_device(self._device):
            _bind(self._binding.value.bind_output, name, buffer)

    def input(self, name: str, array: Array) -> None:
        """Bind an input to an array of the host."""
        self._bound.append(array)
        if self._device.is_host:
            _bind_host(self._binding.value.bind_input, name, array)
        else:  # binding copies the array to the card, so it is bound again for every run
            self._host_inputs.append((name, array))

    def fixed_input(self, name: str, array: Array) -> None:
        """Bind an input to an array of the host whose values never change."""
        self._bound.append(array)
        with on_device(self._device):
            _bind_host(self._binding.value.bind_input, name, array)

    def output(self, name: str, array: Array) -> None:
        """Bind an output to an array of the host."""
        self._bound.append(array)
        _bind_host(self._binding.value.bind_output, name, array)

    def run(self) -> None:
        """Run the program."""
        session, binding = self._compiled.session, self._binding.value
        with on_device(self._device):
            for name, array in self._host_inputs:
                _bind_host(binding.bind_input, name, array)
            session.run_with_iobinding(binding, self._options.run)

    def start(self) -> None:
        """Start a replay, without inputs in the host's memory; run a program that is not captured.

        The lock of a card is held for the call only, so that other models use the card meanwhile.
        """
        session, binding = self._compiled.session, self._binding.value
        with on_device(self._device):
            session.run_with_iobinding(binding, self._options.start)

    def wait(self) -> None:
        """Wait for the end of what was started."""
        if not self._device.is_host:
            binding = self._binding.value
            with on_device(self._device):
                wait_for_card()
                binding.synchronize_outputs()

    def close(self) -> None:
        """Unbind all arrays; StepFailed from all other methods then."""
        self._binding.close()
        self._bound.clear()
        self._host_inputs.clear()


class _Binder(Protocol):
    def __call__(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: object,
        shape: tuple[int, ...],
        buffer_ptr: int,
    ) -> None: ...


def _bind(binder: _Binder, name: str, buffer: Buffer) -> None:
    device = buffer.device
    binder(name, device.kind, device.number, buffer.element, buffer.shape, buffer.address)


def _bind_host(binder: _Binder, name: str, array: Array) -> None:
    binder(name, CPU.kind, CPU.number, array.dtype.type, array.shape, array.ctypes.data)
