"""All states of a cell: an arena for each part, in a device's memory or in the host's."""

from __future__ import annotations

import numpy as np

from cellwire.model_file.cell import Cell
from cellwire.model_file.errors import BadModel
from cellwire.server.batch.stepper import State
from cellwire.server.programs import program
from cellwire.server.programs import transfer_program as names
from cellwire.server.runtime.compiled import Array, Binding, Buffer, Compiled
from cellwire.server.runtime.device import Device


class States:
    """Arenas `[slots, ...]`, and their rows as bytes."""

    def __init__(self, cell: Cell, slots: int, device: Device) -> None:
        """Begin with zeros; MemoryError or ValueError if there is no room."""
        self._cell = cell
        self.arenas = {
            state.name: Buffer(np.zeros((slots, *state.shape), np.float32), device)
            for state in cell.states
        }

    def read(self, slot: int) -> State:
        """Return a copy of the state in a slot."""
        return tuple(arena.host[slot].astype("<f4").tobytes() for arena in self.arenas.values())

    def write(self, slot: int, state: State) -> None:
        """Put a state of the right size into a slot."""
        for arena, part in zip(self.arenas.values(), state, strict=True):
            arena.host[slot] = np.frombuffer(part, "<f4").reshape(arena.shape[1:])


class DeviceStates(States):
    """The same where the host cannot reach them: a program takes rows out and puts them in."""

    def __init__(self, cell: Cell, slots: int, device: Device) -> None:
        super().__init__(cell, slots, device)
        for arena in self.arenas.values():
            arena.leave_host()
        self._slot = np.zeros(1, np.int64)
        self._rows: dict[str, Array] = {
            state.name: np.zeros((1, *state.shape), np.float32) for state in cell.states
        }
        self._reading = self._binding(names.compose_read(cell), device)
        self._writing = self._binding(names.compose_write(cell), device)
        for name, rows in self._rows.items():
            self._reading.output(names.ROW + name, rows)
            self._writing.input(names.ROW + name, rows)
        for name, arena in self.arenas.items():
            self._reading.read(program.ARENA + name, arena)
        self._writing.move(self.arenas)

    def _binding(self, serialized: bytes, device: Device) -> Binding:
        try:
            binding = Binding(Compiled(serialized, device=device))
        except ValueError as error:
            raise BadModel(f"{self._cell.path}: cannot be run: {error}") from error
        binding.input(names.SLOT, self._slot)
        return binding

    def read(self, slot: int) -> State:
        """As of the host's."""
        self._slot[0] = slot
        self._reading.run()
        return tuple(rows.astype("<f4").tobytes() for rows in self._rows.values())

    def write(self, slot: int, state: State) -> None:
        """As of the host's."""
        self._slot[0] = slot
        for rows, part in zip(self._rows.values(), state, strict=True):
            rows[:] = np.frombuffer(part, "<f4").reshape(rows.shape)
        self._writing.run()
