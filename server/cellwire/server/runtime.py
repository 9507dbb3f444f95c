"""The runtime: a cell's arenas, and what makes strides and searches on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from cellwire.server.cell import Cell
from cellwire.server.compiled import Compiled
from cellwire.server.errors import BadModel, InvalidRequest, StepFailed
from cellwire.server.sampler import Sampler
from cellwire.server.search import SearchBatch, SearchResult
from cellwire.server.search_program import compose_search
from cellwire.server.searcher import Searcher
from cellwire.server.step import StepBatch, StepResult
from cellwire.server.stepper import State
from cellwire.server.stride_program import compose_stride
from cellwire.server.strider import Strider


class Runtime:
    """One cell on the CPU provider; a Stepper."""

    def __init__(self, cell: Cell, slots: int, max_batch: int, threads: int = 1) -> None:
        """Compile the programs and set all states to zero; BadModel if that is impossible.

        `slots` is the number of rows of each arena; so many `threads` compute one stride of up to
        `max_batch` rows.
        """
        self._cell = cell
        self._threads = threads
        self._arenas = {s.name: np.zeros((slots, *s.shape), np.float32) for s in cell.states}
        symbols = cell.manifest.vocabulary.size
        self._programs: dict[object, Compiled] = {}
        self._strider = Strider(
            self._stride_program,
            self._arenas,
            vocabulary=symbols,
            labels=len(cell.labels),
            writes=cell.writes,
            max_batch=max_batch,
        )
        self._searcher = Searcher(self._search_program, self._arenas, symbols)
        # Each program holds the weights once more, so the rarer ones wait until they are needed.
        try:
            for sampler in (Sampler.FORCED, Sampler.PLAIN) if cell.writes else (Sampler.PLAIN,):
                self._stride_program(sampler)
        except StepFailed as error:
            raise BadModel(str(error)) from error

    def _stride_program(self, sampler: Sampler) -> Compiled:
        return self._program(sampler, lambda: compose_stride(self._cell, sampler))

    def _search_program(self, may_end: bool) -> Compiled:  # noqa: FBT001  # there are two
        return self._program(may_end, lambda: compose_search(self._cell, may_end=may_end))

    def _program(self, kind: object, compose: Callable[[], bytes]) -> Compiled:
        """Return a program, compiled on first use; StepFailed if it cannot be."""
        if kind not in self._programs:
            try:
                self._programs[kind] = Compiled(compose(), self._threads)
            except ValueError as error:
                raise StepFailed(f"{self._cell.path}: cannot be run: {error}") from error
        return self._programs[kind]

    @property
    def provider(self) -> str:
        """The execution provider that the programs really got."""
        return self._programs[Sampler.PLAIN].provider

    def state(self, name: str) -> npt.NDArray[np.float32]:
        """Return the arena of one state `[slots, ...]` itself, not a copy."""
        return self._arenas[name]

    def read_state(self, slot: int) -> State:
        """Return a copy of the state in a slot."""
        return tuple(arena[slot].astype("<f4").tobytes() for arena in self._arenas.values())

    def write_state(self, slot: int, state: State) -> None:
        """Put a state into a slot; InvalidRequest if it has not this cell's shape."""
        arenas = list(self._arenas.values())
        if [len(part) for part in state] != [arena[slot].nbytes for arena in arenas]:
            raise InvalidRequest("the snapshot's state has not the shape of the model's")
        for arena, part in zip(arenas, state, strict=True):
            arena[slot] = np.frombuffer(part, "<f4").reshape(arena[slot].shape)

    def step(self, batch: StepBatch) -> StepResult:
        """Make a stride; StepFailed if the runtime refuses."""
        return self._strider.step(batch)

    def search(self, batch: SearchBatch) -> SearchResult:
        """Take searches some steps on; StepFailed if the runtime refuses."""
        return self._searcher.search(batch)
