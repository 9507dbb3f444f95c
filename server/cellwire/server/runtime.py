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

from cellwire.server.cell import Cell
from cellwire.server.errors import BadModel, StepFailed
from cellwire.server.program import ARENA, NEXT_ARENA, compose_program
from cellwire.server.step import StepBatch, StepResult

VERSION: str = ort.__version__

_QUIET = 3  # errors only
_INPUTS: dict[str, type[np.generic]] = {
    "token": np.int64,
    "read_slot": np.int64,
    "write_slot": np.int64,
    "forced": np.int64,
    "inverse_temperature": np.float32,
    "uniform": np.float32,
    "top_k": np.int64,
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

    def __init__(self, cell: Cell, slots: int, threads: int = 0) -> None:
        """Compile the program and set all states to zero; BadModel if it cannot be compiled.

        `slots` is the number of rows of each arena. `threads` may compute one step; 0 is one for
        each core.
        """
        self._symbols = len(cell.manifest.vocabulary.symbols)
        try:
            program = compose_program(cell)
            self._session = ort.InferenceSession(
                program, _options(threads), providers=["CPUExecutionProvider"]
            )
        # onnxruntime's exceptions have no common base but Exception.
        except Exception as error:
            raise BadModel(f"model {cell.name!r} cannot be run: {error}") from error
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
                inputs={name: np.zeros(batch, dtype) for name, dtype in _INPUTS.items()},
                top_k_limit=np.ones(1, np.int64),
                chosen=np.zeros(batch, np.int64),
                log_probability=np.zeros(batch, np.float32),
                binding=self._session.io_binding(),
            )
            for name, array in bucket.inputs.items():
                _bind(bucket.binding.bind_input, name, array)
            _bind(bucket.binding.bind_input, "top_k_limit", bucket.top_k_limit)
            _bind(bucket.binding.bind_output, "chosen", bucket.chosen)
            _bind(bucket.binding.bind_output, "log_probability", bucket.log_probability)
            for name, arena in self._arenas.items():
                _bind(bucket.binding.bind_input, ARENA + name, arena)
                _bind(bucket.binding.bind_output, NEXT_ARENA + name, arena)
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
