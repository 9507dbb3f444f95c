"""ONNX Runtime: runs a cell's program on arenas that stay where they are.

The only file that imports onnxruntime. Each state's arena is bound as the program's input and its
output at once, so a step updates it in place; and for every batch size the small arrays are bound
once to buffers that later steps of that size fill again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from cellwire.server import program
from cellwire.server.cell import TOKEN, Cell
from cellwire.server.errors import BadModel, StepFailed
from cellwire.server.step import StepBatch, StepResult

VERSION: str = ort.__version__

_QUIET = 3  # errors only
# The columns of a StepBatch, and the program's inputs they go to.
_INPUTS: dict[str, tuple[str, type[np.generic]]] = {
    "token": (TOKEN, np.int64),
    "read_slot": (program.READ_SLOT, np.int64),
    "write_slot": (program.WRITE_SLOT, np.int64),
    "forced": (program.FORCED, np.int64),
    "inverse_temperature": (program.INVERSE_TEMPERATURE, np.float32),
    "uniform": (program.UNIFORM, np.float32),
    "top_k": (program.TOP_K, np.int64),
}


@dataclass(frozen=True, slots=True)
class _Bucket:
    """The buffers of one batch size, and the binding that points to them."""

    inputs: dict[str, npt.NDArray[np.generic]]  # each [batch]
    top_k_limit: npt.NDArray[np.int64]  # [1]
    chosen: npt.NDArray[np.int64]  # [batch]
    log_probability: npt.NDArray[np.float32]  # [batch]
    binding: ort.IOBinding


class Runtime:
    """One cell's program and arenas on the CPU provider; a Stepper."""

    def __init__(self, cell: Cell, slots: int, threads: int = 1) -> None:
        """Compile the program and set all states to zero; BadModel if it cannot be compiled.

        `slots` is the number of rows of each arena; so many `threads` compute one step.
        """
        self._symbols = len(cell.manifest.vocabulary.symbols)
        try:
            graph = program.compose_program(cell)
            self._session = ort.InferenceSession(
                graph, _options(threads), providers=["CPUExecutionProvider"]
            )
        # onnxruntime's exceptions have no common base but Exception.
        except Exception as error:
            raise BadModel(f"{cell.path}: cannot be run: {error}") from error
        self._arenas = {s.name: np.zeros((slots, *s.shape), np.float32) for s in cell.states}
        self._buckets: dict[int, _Bucket] = {}

    @property
    def provider(self) -> str:
        """The execution provider that the session really got."""
        return str(self._session.get_providers()[0])

    def state(self, name: str) -> npt.NDArray[np.float32]:
        """Return the arena of one state `[slots, ...]` itself, not a copy."""
        return self._arenas[name]

    def step(self, batch: StepBatch) -> StepResult:
        """Run one step; StepFailed if the runtime refuses."""
        bucket = self._bucket(len(batch))
        for name, buffer in bucket.inputs.items():
            buffer[:] = getattr(batch, name)
        top_k = bucket.inputs["top_k"]
        np.minimum(top_k, self._symbols, out=top_k)
        bucket.top_k_limit[0] = max(1, int(top_k.max()))
        try:
            self._session.run_with_iobinding(bucket.binding)
        except Exception as error:  # see __init__
            raise StepFailed(f"the model could not be run: {error}") from error
        return StepResult(bucket.chosen.copy(), bucket.log_probability.copy())

    def _bucket(self, batch: int) -> _Bucket:
        """Return the buffers for a batch size, made and bound on first use."""
        if batch not in self._buckets:
            bucket = _Bucket(
                inputs={column: np.zeros(batch, dtype) for column, (_, dtype) in _INPUTS.items()},
                top_k_limit=np.ones(1, np.int64),
                chosen=np.zeros(batch, np.int64),
                log_probability=np.zeros(batch, np.float32),
                binding=self._session.io_binding(),
            )
            for column, (name, _) in _INPUTS.items():
                _bind(bucket.binding.bind_input, name, bucket.inputs[column])
            _bind(bucket.binding.bind_input, program.TOP_K_LIMIT, bucket.top_k_limit)
            _bind(bucket.binding.bind_output, program.CHOSEN, bucket.chosen)
            _bind(bucket.binding.bind_output, program.LOG_PROBABILITY, bucket.log_probability)
            for name, arena in self._arenas.items():
                _bind(bucket.binding.bind_input, program.ARENA + name, arena)
                _bind(bucket.binding.bind_output, program.NEXT_ARENA + name, arena)
            self._buckets[batch] = bucket
        return self._buckets[batch]


def _options(threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = _QUIET
    return options


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


def _bind(binder: _Binder, name: str, array: npt.NDArray[np.generic]) -> None:
    binder(name, "cpu", 0, array.dtype.type, array.shape, array.ctypes.data)
