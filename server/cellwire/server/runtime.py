"""ONNX Runtime: runs a cell's programs on arenas that stay where they are.

The only file that imports onnxruntime. Each state's arena is bound as a program's input and its
output at once, so a stride updates it in place. The small arrays are buffers that every stride
fills again; for each size of stride there is a binding to the beginning of each.
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from cellwire.server import program, sampler
from cellwire.server.cell import Cell
from cellwire.server.errors import BadModel, InvalidRequest, StepFailed
from cellwire.server.sampler import Sampler
from cellwire.server.step import MAX_STEPS, SAMPLED, Shaping, State, StepBatch, StepResult

VERSION: str = ort.__version__

_QUIET = 3  # errors only
# The columns of a StepBatch that every program takes, and the inputs they go to.
_COLUMNS: dict[str, tuple[str, type[np.generic]]] = {
    "token": (program.FIRST_TOKEN, np.int64),
    "read_slot": (program.READ_SLOT, np.int64),
    "write_slot": (program.WRITE_SLOT, np.int64),
    "count": (program.COUNT, np.int64),
    "forced": (sampler.FORCED, np.int64),
    "uniform": (sampler.UNIFORM, np.float32),
    "inverse_temperature": (sampler.INVERSE_TEMPERATURE, np.float32),
    "top_k": (sampler.TOP_K, np.int64),
}
_OF_EACH_STEP = ("forced", "uniform")
_SAMPLING = ("uniform", "inverse_temperature", "top_k")  # what a cell without logits has no use for
Array = npt.NDArray[Any]

# No change at all, for a stride that has none: a graph's input may not be empty.
_NO_CHANGE: dict[str, Array] = {
    sampler.CHANGE_ROW: np.zeros(1, np.int64),
    sampler.CHANGE_TOKEN: np.zeros(1, np.int64),
    sampler.CHANGE_PENALTY: np.ones(1, np.float32),
    sampler.CHANGE_BIAS: np.zeros(1, np.float32),
}


class Runtime:
    """One cell's programs and arenas on the CPU provider; a Stepper."""

    def __init__(self, cell: Cell, slots: int, max_batch: int, threads: int = 1) -> None:
        """Compile the programs and set all states to zero; BadModel if that is impossible.

        `slots` is the number of rows of each arena; so many `threads` compute one stride of up to
        `max_batch` rows.
        """
        self._symbols = cell.manifest.vocabulary.size
        self._writes = cell.writes
        self._cell = cell
        self._threads = threads
        # Each program holds the weights once more, so the rarer ones wait until they are needed.
        first = (Sampler.FORCED, Sampler.PLAIN) if cell.writes else (Sampler.PLAIN,)
        self._programs = {each: _session(cell, threads, each) for each in first}
        self._arenas = {s.name: np.zeros((slots, *s.shape), np.float32) for s in cell.states}
        self._steps = np.zeros((), np.int64)
        self._limit = np.ones(1, np.int64)
        self._inputs = {
            column: np.zeros(max_batch * (MAX_STEPS if column in _OF_EACH_STEP else 1), dtype)
            for column, (_, dtype) in _COLUMNS.items()
            if cell.writes or column not in _SAMPLING
        }
        # The outputs, used from the beginning: [steps, batch], [batch, limit], ...
        self._chosen = np.zeros(MAX_STEPS * max_batch, np.int64)
        self._log_probability = np.zeros(MAX_STEPS * max_batch, np.float32)
        self._best_token = np.zeros(max_batch * self._symbols, np.int64)
        self._best_log_probability = np.zeros(max_batch * self._symbols, np.float32)
        self._labels = len(cell.labels)
        self._scores = np.zeros(MAX_STEPS * max_batch * self._labels, np.float32)
        self._bindings: dict[tuple[Sampler, int, int, int], ort.IOBinding] = {}

    @property
    def provider(self) -> str:
        """The execution provider that the sessions really got."""
        return str(self._programs[Sampler.PLAIN].get_providers()[0])

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
        rows, steps = len(batch), batch.steps
        for column, buffer in self._inputs.items():
            values = getattr(batch, column)
            buffer[: values.size] = values.reshape(-1)
        asked, limit = self._sampler_for(batch)
        self._steps[()] = steps
        self._limit[0] = limit
        try:
            binding = self._binding(asked, steps, rows, limit)
            if batch.shaping is not None:
                _bind_shaping(binding, batch.shaping)
            self._program(asked).run_with_iobinding(binding)
        # onnxruntime's exceptions have no common base but Exception.
        except Exception as error:
            raise StepFailed(f"the model could not be run: {error}") from error
        return self._result(steps, rows, limit if batch.best else 0)

    def _result(self, steps: int, rows: int, best: int) -> StepResult:
        """Return copies of what the last stride put into the buffers."""
        scores = self._scores[: steps * rows * self._labels]
        return StepResult(
            self._chosen[: steps * rows].reshape(steps, rows).copy(),
            self._log_probability[: steps * rows].reshape(steps, rows).copy(),
            self._best_token[: rows * best].reshape(rows, best).copy(),
            self._best_log_probability[: rows * best].reshape(rows, best).copy(),
            scores.reshape(steps, rows, self._labels).copy() if self._labels else None,
        )

    def _sampler_for(self, batch: StepBatch) -> tuple[Sampler, int]:
        """Return what sampler a batch needs, and how many of the likeliest tokens it must rank.

        That number is a power of two, so that there are few different bindings.
        """
        if not self._writes:
            return Sampler.PLAIN, 0
        top_k = self._inputs["top_k"][: len(batch)]
        np.minimum(top_k, self._symbols, out=top_k)
        most = max(int(top_k.max()), batch.best)
        if batch.shaping is not None and (batch.shaping.top_p < 1).any():
            most = self._symbols
        limit = min(self._symbols, 1 << max(0, most - 1).bit_length())
        sampled = (batch.forced == SAMPLED).any(axis=0)  # [batch]
        if batch.shaping is not None:
            return Sampler.SHAPING, limit
        if not sampled.any():
            return Sampler.FORCED, limit
        if most == 0:
            return Sampler.PLAIN, 0
        if batch.best or (sampled & (top_k == 0)).any():
            return Sampler.RANKING, limit
        return Sampler.TOP_K, limit

    def _program(self, asked: Sampler) -> ort.InferenceSession:
        """Return a program, compiled on first use."""
        if asked not in self._programs:
            self._programs[asked] = _session(self._cell, self._threads, asked)
        return self._programs[asked]

    def _binding(self, asked: Sampler, steps: int, rows: int, limit: int) -> ort.IOBinding:
        """Return the binding for a size of stride, made on first use."""
        key = asked, steps, rows, limit
        if key not in self._bindings:
            self._bindings[key] = self._bind(*key)
        return self._bindings[key]

    def _bind(self, asked: Sampler, steps: int, rows: int, limit: int) -> ort.IOBinding:
        session = self._program(asked)
        binding = session.io_binding()
        known = {value.name for value in session.get_inputs()}
        _bind(binding.bind_input, program.STEPS, self._steps, ())
        for column, buffer in self._inputs.items():
            name, shape = _COLUMNS[column][0], (steps, rows) if column in _OF_EACH_STEP else (rows,)
            if name in known:
                _bind(binding.bind_input, name, buffer, shape)
        each = (steps, rows)
        _bind(binding.bind_output, program.CHOSEN, self._chosen, each)
        _bind(binding.bind_output, program.LOG_PROBABILITY, self._log_probability, each)
        if limit:
            _bind(binding.bind_input, sampler.LIMIT, self._limit, (1,))
        if asked.reports_best and steps == 1:  # nobody asks for them in longer strides
            best, logs = (1, rows, limit), self._best_log_probability
            _bind(binding.bind_output, program.BEST_TOKEN, self._best_token, best)
            _bind(binding.bind_output, program.BEST_LOG_PROBABILITY, logs, best)
        if self._labels:
            _bind(binding.bind_output, program.ALL_SCORES, self._scores, (*each, self._labels))
        for name, arena in self._arenas.items():
            _bind(binding.bind_input, program.ARENA + name, arena, arena.shape)
            _bind(binding.bind_output, program.NEXT_ARENA + name, arena, arena.shape)
        return binding


def _bind_shaping(binding: ort.IOBinding, shaping: Shaping) -> None:
    """Bind the columns of one stride only: their lengths differ from one to the next."""
    changes: dict[str, Array] = {
        sampler.CHANGE_ROW: shaping.row,
        sampler.CHANGE_TOKEN: shaping.token,
        sampler.CHANGE_PENALTY: shaping.penalty,
        sampler.CHANGE_BIAS: shaping.bias,
    }
    for name, column in (changes if shaping.row.size else _NO_CHANGE).items():
        _bind(binding.bind_input, name, column, column.shape)
    for name, column in ((sampler.TOP_P, shaping.top_p), (sampler.LOG_MIN_P, shaping.log_min_p)):
        _bind(binding.bind_input, name, column, column.shape)


def _session(cell: Cell, threads: int, asked: Sampler) -> ort.InferenceSession:
    """Compile one of a cell's programs; BadModel if it cannot be compiled."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    try:
        graph = program.compose_program(cell, asked)
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
