"""ONNX Runtime: runs a cell's programs on arenas that stay where they are.

The only file that imports onnxruntime. Each state's arena is bound as a program's input and its
output at once, so a step updates it in place. The small arrays are buffers that every step fills
again; for each size of batch there is a binding to the beginning of each.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from cellwire.server import program
from cellwire.server.cell import SCORES, TOKEN, Cell
from cellwire.server.errors import BadModel, InvalidRequest, StepFailed
from cellwire.server.step import Shaping, State, StepBatch, StepResult

VERSION: str = ort.__version__

_QUIET = 3  # errors only
# The columns of a StepBatch, and the program's inputs they go to.
_COLUMNS: dict[str, tuple[str, type[np.generic]]] = {
    "token": (TOKEN, np.int64),
    "read_slot": (program.READ_SLOT, np.int64),
    "write_slot": (program.WRITE_SLOT, np.int64),
    "forced": (program.FORCED, np.int64),
    "inverse_temperature": (program.INVERSE_TEMPERATURE, np.float32),
    "uniform": (program.UNIFORM, np.float32),
    "top_k": (program.TOP_K, np.int64),
}
_SAMPLING = ("inverse_temperature", "uniform", "top_k")  # what a cell without logits has no use for
Array = npt.NDArray[Any]

# No change at all, for a step that has none: a graph's input may not be empty.
_NO_CHANGE: dict[str, Array] = {
    program.CHANGE_ROW: np.zeros(1, np.int64),
    program.CHANGE_TOKEN: np.zeros(1, np.int64),
    program.CHANGE_PENALTY: np.ones(1, np.float32),
    program.CHANGE_BIAS: np.zeros(1, np.float32),
}


class Runtime:
    """One cell's programs and arenas on the CPU provider; a Stepper."""

    def __init__(self, cell: Cell, slots: int, max_batch: int, threads: int = 1) -> None:
        """Compile the programs and set all states to zero; BadModel if that is impossible.

        `slots` is the number of rows of each arena; so many `threads` compute one step of up to
        `max_batch` rows.
        """
        self._symbols = cell.manifest.vocabulary.size
        self._writes = cell.writes
        self._plain = _session(cell, threads, shaping=False)
        self._shaping = _session(cell, threads, shaping=True) if cell.writes else self._plain
        self._arenas = {s.name: np.zeros((slots, *s.shape), np.float32) for s in cell.states}
        columns = [c for c in _COLUMNS if cell.writes or c not in _SAMPLING]
        self._inputs = {column: np.zeros(max_batch, _COLUMNS[column][1]) for column in columns}
        self._limit = np.ones(1, np.int64)
        self._chosen = np.zeros(max_batch, np.int64)
        self._log_probability = np.zeros(max_batch, np.float32)
        # [max_batch x symbols] at most; used from the beginning, as [batch, limit].
        self._best_token = np.zeros(max_batch * self._symbols, np.int64)
        self._best_log_probability = np.zeros(max_batch * self._symbols, np.float32)
        self._scores = np.zeros((max_batch, len(cell.labels)), np.float32)
        self._bindings: dict[tuple[int, int], ort.IOBinding] = {}

    @property
    def provider(self) -> str:
        """The execution provider that the sessions really got."""
        return str(self._plain.get_providers()[0])

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
        """Run one step; StepFailed if the runtime refuses."""
        rows = len(batch)
        for column, buffer in self._inputs.items():
            buffer[:rows] = getattr(batch, column)
        limit = self._limit_for(batch)
        self._limit[0] = limit
        try:
            if batch.shaping is None or not self._writes:
                self._plain.run_with_iobinding(self._binding(rows, limit))
            else:
                self._run_shaping(rows, limit, batch.shaping)
        # onnxruntime's exceptions have no common base but Exception.
        except Exception as error:
            raise StepFailed(f"the model could not be run: {error}") from error
        return StepResult(
            self._chosen[:rows].copy(),
            self._log_probability[:rows].copy(),
            self._best_token[: rows * limit].reshape(rows, limit).copy(),
            self._best_log_probability[: rows * limit].reshape(rows, limit).copy(),
            self._scores[:rows].copy() if self._scores.size else None,
        )

    def _limit_for(self, batch: StepBatch) -> int:
        """Return how many of the likeliest tokens must be ranked, and bring top_k within that.

        Up to the next power of two, so that there are few different bindings.
        """
        if not self._writes:
            return 1
        top_k = self._inputs["top_k"][: len(batch)]
        np.minimum(top_k, self._symbols, out=top_k)
        if batch.shaping is not None and (batch.shaping.top_p < 1).any():
            return self._symbols
        most = max(1, int(top_k.max()), batch.best)
        return min(self._symbols, 1 << (most - 1).bit_length())

    def _binding(self, rows: int, limit: int) -> ort.IOBinding:
        """Return the plain program's binding for a size of batch, made on first use."""
        if (rows, limit) not in self._bindings:
            self._bindings[rows, limit] = self._bind(self._plain, rows, limit)
        return self._bindings[rows, limit]

    def _run_shaping(self, rows: int, limit: int, shaping: Shaping) -> None:
        binding = self._bind(self._shaping, rows, limit)
        changes: dict[str, Array] = {
            program.CHANGE_ROW: shaping.row,
            program.CHANGE_TOKEN: shaping.token,
            program.CHANGE_PENALTY: shaping.penalty,
            program.CHANGE_BIAS: shaping.bias,
        }
        for name, column in (changes if shaping.row.size else _NO_CHANGE).items():
            _bind(binding.bind_input, name, column, column.shape)
        _bind(binding.bind_input, program.TOP_P, shaping.top_p, (rows,))
        _bind(binding.bind_input, program.LOG_MIN_P, shaping.log_min_p, (rows,))
        self._shaping.run_with_iobinding(binding)

    def _bind(self, session: ort.InferenceSession, rows: int, limit: int) -> ort.IOBinding:
        """Bind what both programs have, for so many rows."""
        binding = session.io_binding()
        for column, buffer in self._inputs.items():
            _bind(binding.bind_input, _COLUMNS[column][0], buffer, (rows,))
        _bind(binding.bind_output, program.CHOSEN, self._chosen, (rows,))
        _bind(binding.bind_output, program.LOG_PROBABILITY, self._log_probability, (rows,))
        if self._writes:
            best = (rows, limit)
            _bind(binding.bind_input, program.LIMIT, self._limit, (1,))
            _bind(binding.bind_output, program.BEST_TOKEN, self._best_token, best)
            log_probability = self._best_log_probability
            _bind(binding.bind_output, program.BEST_LOG_PROBABILITY, log_probability, best)
        if self._scores.size:
            _bind(binding.bind_output, SCORES, self._scores, (rows, self._scores.shape[1]))
        for name, arena in self._arenas.items():
            _bind(binding.bind_input, program.ARENA + name, arena, arena.shape)
            _bind(binding.bind_output, program.NEXT_ARENA + name, arena, arena.shape)
        return binding


def _session(cell: Cell, threads: int, *, shaping: bool) -> ort.InferenceSession:
    """Compile one of a cell's programs; BadModel if it cannot be compiled."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    try:
        graph = program.compose_program(cell, shaping=shaping)
        return ort.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # see step
        raise BadModel(f"{cell.path}: cannot be run: {error}") from error


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


def _bind(binder: _Binder, name: str, array: Array, shape: tuple[int, ...]) -> None:
    """Bind the beginning of an array, as an array of `shape`."""
    binder(name, "cpu", 0, array.dtype.type, shape, array.ctypes.data)
