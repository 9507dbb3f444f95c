"""CUDA's TopK in ONNX's reference evaluator, and sessions of that in place of ONNX Runtime's.

As ONNX Runtime's source has it: a block of up to 256 values is filled up with the lowest finite
number, at places after the last, and sorted. More values than that are ranked by radix: where
fewer are above that number than are wanted, the rest is that number at places nobody wrote, and
equal values come in the order of their places modulo 256.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from cellwire.server.runtime.card_lock import Held
from cellwire.server.runtime.compiled import Compiled, RunOptions
from cellwire.server.runtime.device import CPU

_THREADS = 256
_NOT_WRITTEN = 0x7BAD_7BAD_7BAD  # the place in memory that no thread has written

Array = npt.NDArray[Any]


class CardTopK(OpRun):
    """TopK along the last axis."""

    op_domain = ""

    def _run(self, values: Array, limit: Array, **attributes: int) -> tuple[Array, Array]:
        (k,), length = limit.tolist(), values.shape[-1]
        assert k <= length
        sign = 1 if attributes["largest"] else -1
        bounds = np.iinfo if values.dtype.kind == "i" else np.finfo
        fill = bounds(values.dtype).min if sign > 0 else bounds(values.dtype).max
        tops = [self._row(row, int(k), sign, fill) for row in values.reshape(-1, length)]
        shape = (*values.shape[:-1], int(k))
        top, places = (np.array(part).reshape(shape) for part in zip(*tops, strict=True))
        return top.astype(values.dtype), places.astype(np.int64)

    @staticmethod
    def _row(row: Array, k: int, sign: int, fill: Any) -> tuple[Array, Array]:  # noqa: ANN401
        places = np.arange(len(row))
        if len(row) <= _THREADS:
            fillers = (1 << (len(row) - 1).bit_length()) - len(row)
            row = np.append(row, np.full(fillers, fill, row.dtype))
            order = np.lexsort((np.arange(len(row)), -sign * row))[:k]
            return row[order], order
        order = np.lexsort((places % _THREADS, -sign * row))[:k]
        lost = sign * row[order] <= sign * fill
        return np.where(lost, fill, row[order]), np.where(lost, _NOT_WRITTEN, order)


class _GatherElements(OpRun):
    """The evaluator's own is wrong for more than 32 values."""

    op_domain = ""

    def _run(self, values: Array, places: Array, axis: int) -> tuple[Array]:
        return (np.take_along_axis(values, places, axis),)


class _Gemm(OpRun):
    """The evaluator's own gives a row other bits at another place in the batch."""

    op_domain = ""

    def _run(self, rows: Array, by: Array, plus: Array | None = None, **_: float) -> tuple[Array]:
        product = np.stack([row @ by for row in rows])
        return (product if plus is None else product + plus,)


class ReferenceBinding:
    """Arrays at addresses, as in an IOBinding of ONNX Runtime."""

    def __init__(self) -> None:
        self.inputs: dict[str, Array] = {}
        self.outputs: dict[str, Array] = {}

    def bind_input(self, name: str, *where: Any) -> None:  # noqa: ANN401
        self.inputs[name] = _array_at(*where)

    def bind_output(self, name: str, *where: Any) -> None:  # noqa: ANN401
        self.outputs[name] = _array_at(*where)


def _array_at(_kind: str, _number: int, element: Any, shape: tuple[int, ...], at: int) -> Array:  # noqa: ANN401
    dtype = np.dtype(element)
    memory = (ctypes.c_char * (dtype.itemsize * int(np.prod(shape)))).from_address(at)
    return np.frombuffer(memory, dtype).reshape(shape)


class ReferenceSession:
    """A program in the reference evaluator, with a card's TopK or without."""

    def __init__(self, serialized: bytes, *, card: bool) -> None:
        kinds: dict[str, type[OpRun]] = {"GatherElements": _GatherElements, "Gemm": _Gemm}
        if card:
            kinds["TopK"] = CardTopK
        operators = [type(name, (kind,), {}) for name, kind in kinds.items()]
        model = onnx.load_model_from_string(serialized)
        self.evaluator = ReferenceEvaluator(model, new_ops=operators)

    def io_binding(self) -> ReferenceBinding:
        return ReferenceBinding()

    def run_with_iobinding(self, binding: ReferenceBinding, _options: None) -> None:
        copies = {name: array.copy() for name, array in binding.inputs.items()}
        found = self.evaluator.run([*binding.outputs], copies)
        for output, value in zip(binding.outputs.values(), found, strict=True):
            output[...] = value


class ReferenceCompiled(Compiled):
    """A program that the reference evaluator runs."""

    def __init__(self, serialized: bytes, *, card: bool) -> None:
        self._session = Held(ReferenceSession(serialized, card=card), CPU)
        self.device = CPU

    def run_options(self) -> RunOptions:
        return RunOptions(None, None)
