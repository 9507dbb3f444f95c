"""A cell's states: an arena for each state tensor, in the host's memory or a device's."""

from __future__ import annotations

import numpy as np

from cellwire.model_file.cell import Cell
from cellwire.model_file.errors import BadModel
from cellwire.model_file.runtime_text import plain
from cellwire.server.batch.stepper import State
from cellwire.server.programs.program import ARENA
from cellwire.server.programs.transfer_program import ROW, SLOT, compose_read, compose_write
from cellwire.server.runtime.binding import Binding
from cellwire.server.runtime.compiled import Array, Compiled
from cellwire.server.runtime.device import Device
from cellwire.server.runtime.memory import Memory


class States:
    """Arenas `[slots, ...]`, whose rows are read and written as bytes."""

    def __init__(self, cell: Cell, slots: int, memory: Memory) -> None:
        """Allocate zeros; MemoryError or ValueError if there is no room."""
        self.arenas = {state.name: memory.zeros((slots, *state.shape)) for state in cell.states}

    def read(self, slot: int) -> State:
        """Return a copy of the state in a slot."""
        return tuple(arena.host[slot].astype("<f4").tobytes() for arena in self.arenas.values())

    def write(self, slot: int, state: State) -> None:
        """Write a state of the right size to a slot."""
        for arena, part in zip(self.arenas.values(), state, strict=True):
            arena.host[slot] = np.frombuffer(part, "<f4").reshape(arena.shape[1:])

    def close(self) -> None:
        """Give the memory back, after the bindings to the arenas are closed."""
        for arena in self.arenas.values():
            arena.close()


class DeviceStates(States):
    """Arenas in a device's memory, whose rows are read and written by a program."""

    def __init__(self, cell: Cell, slots: int, memory: Memory) -> None:
        """Allocate zeros, and compile the program; MemoryError, StepFailed, BadModel."""
        super().__init__(cell, slots, memory)
        self._programs: list[Compiled] = []
        self._slot = np.zeros(1, np.int64)
        self._rows: dict[str, Array] = {
            state.name: np.zeros((1, *state.shape), np.float32) for state in cell.states
        }
        try:
            self._reading = self._binding(compose_read(cell), memory.device)
            self._writing = self._binding(compose_write(cell), memory.device)
        except ValueError as error:
            raise BadModel(cell.path, [f"cannot be run: {plain(str(error))}"]) from error
        for name, rows in self._rows.items():
            self._reading.output(ROW + name, rows)
            self._writing.input(ROW + name, rows)
        for name, arena in self.arenas.items():
            self._reading.read(ARENA + name, arena)
        self._writing.bind_arenas(self.arenas)

    def _binding(self, serialized: bytes, device: Device) -> Binding:
        """Return a binding of a program; ValueError if it cannot be compiled."""
        self._programs.append(Compiled(serialized, device=device))
        binding = Binding(self._programs[-1])
        binding.input(SLOT, self._slot)
        return binding

    def read(self, slot: int) -> State:
        """Run the program that reads a row."""
        self._slot[0] = slot
        self._reading.run()
        return tuple(rows.astype("<f4").tobytes() for rows in self._rows.values())

    def write(self, slot: int, state: State) -> None:
        """Run the program that writes a row."""
        self._slot[0] = slot
        for rows, part in zip(self._rows.values(), state, strict=True):
            rows[:] = np.frombuffer(part, "<f4").reshape(rows.shape)
        self._writing.run()

    def close(self) -> None:
        """Close the programs that read and write rows, and give the memory back."""
        for binding in (self._reading, self._writing):
            binding.close()
        for program in self._programs:
            program.close()
        super().close()
