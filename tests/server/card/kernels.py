"""Operators as CUDA's kernels compute them, where that differs from the CPU or from the reference.

From ONNX Runtime's source: topk_impl.cuh, gather_impl.cu, gather_elements_impl.cu, and others. What
a kernel leaves unwritten is garbage here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun
from onnx.reference.ops.op_loop import Loop as ReferenceLoop
from tests.server.card.memory import Array, garbage

_BLOCK = 256  # threads
_MAX_RADIX = 16 * _BLOCK
MOST_FILLED = 2**31 - 1

Results = tuple[Array, ...]

_in_place = set[int]()  # arrays that an input and an output of the run are bound to


class IndexFault(Exception):
    """An index that the kernel does not check points nowhere."""


@contextmanager
def in_place(arrays: list[Array]) -> Iterator[None]:
    """Run with these arrays written where they are."""
    _in_place.update(map(id, arrays))
    try:
        yield
    finally:
        _in_place.clear()


def top_k(values: Array, k: int, *, largest: bool) -> tuple[Array, Array]:
    """Return the top k along the last axis, and their places."""
    length = values.shape[-1]
    if k > length:
        raise RuntimeError(f"k argument [{k}] should not be greater than axis dim [{length}]")
    if length <= _BLOCK:
        return _bitonic(values, k, largest=largest)
    if k <= _MAX_RADIX:
        return _radix(values, k, largest=largest)
    order = np.argsort(_keys(values, largest=largest), axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(values, order, -1), order


def _bitonic(values: Array, k: int, *, largest: bool) -> tuple[Array, Array]:
    """Sort a row that is filled up to a power of two with places beyond its end."""
    length = values.shape[-1]
    full = 1 << (length - 1).bit_length()
    padded = np.full((*values.shape[:-1], full), _filler(values, largest=largest), values.dtype)
    padded[..., :length] = values
    order = np.argsort(_keys(padded, largest=largest), axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(padded, order, -1), order


def _radix(values: Array, k: int, *, largest: bool) -> tuple[Array, Array]:
    """Select k by each thread in turn, then sort them among fillers without a place."""
    by_thread = _by_thread(values.shape[-1])
    keys = _keys(values[..., by_thread], largest=largest)
    selected = np.sort(np.argsort(keys, axis=-1, kind="stable")[..., :k], axis=-1)
    places = by_thread[selected]
    items = 2  # of each thread
    while items * _BLOCK < k:
        items *= 2
    shape = *values.shape[:-1], items * _BLOCK
    filled = np.full(shape, _filler(values, largest=largest), values.dtype)
    filled_places = garbage(shape, np.int64)
    filled[..., :k] = np.take_along_axis(values, places, -1)
    filled_places[..., :k] = places
    by_thread = _by_thread(items * _BLOCK)
    filled, filled_places = filled[..., by_thread], filled_places[..., by_thread]
    order = np.argsort(_keys(filled, largest=largest), axis=-1, kind="stable")[..., :k]
    return np.take_along_axis(filled, order, -1), np.take_along_axis(filled_places, order, -1)


def _by_thread(length: int) -> Array:
    """Return the numbers below `length` in the order in which threads take them."""
    numbers = np.arange(length)
    return np.lexsort((numbers, numbers % _BLOCK))


def _keys(values: Array, *, largest: bool) -> Array:
    """Return keys whose ascending order is the one wanted."""
    if not largest:
        return values
    return ~values if values.dtype.kind == "i" else -values


def _filler(values: Array, *, largest: bool) -> Any:  # noqa: ANN401  # of any type of number
    """Return the lowest, or the highest, finite number: above -inf."""
    limits = np.iinfo(values.dtype) if values.dtype.kind == "i" else np.finfo(values.dtype)
    return limits.min if largest else limits.max


class TopK(OpRun):
    def _run(
        self,
        values: Array,
        k: Array,
        axis: int = -1,
        largest: int = 1,
        sorted: int = 1,  # noqa: A002, ARG002  # the attribute's name
    ) -> Results:
        top, places = top_k(np.moveaxis(values, axis, -1), int(k[0]), largest=bool(largest))
        return np.moveaxis(top, -1, axis), np.moveaxis(places, -1, axis)


class Gather(OpRun):
    """An index out of range gives 0."""

    def _run(self, values: Array, places: Array, axis: int = 0) -> Results:
        length = values.shape[axis]
        found = np.take(values, np.clip(places, -length, length - 1), axis=axis)
        outside = (places < -length) | (places >= length)
        if outside.any():
            where = [np.s_[:]] * (axis % values.ndim)
            found[(*where, outside)] = 0
        return (found,)


class GatherElements(OpRun):
    """An index out of range leaves its place unwritten."""

    def _run(self, values: Array, places: Array, axis: int = 0) -> Results:
        length = values.shape[axis]
        found = np.take_along_axis(values, np.clip(places, -length, length - 1), axis)
        outside = (places < -length) | (places >= length)
        return (np.where(outside, garbage(places.shape, values.dtype), found),)


class ScatterElements(OpRun):
    """An index out of range writes nothing."""

    def _run(
        self, values: Array, places: Array, updates: Array, axis: int = 0, reduction: str = "none"
    ) -> Results:
        result, length = values.copy(), values.shape[axis]
        for at in np.ndindex(places.shape):
            if -length <= places[at] < length:
                to = list(at)
                to[axis] = int(places[at])
                if reduction == "add":
                    result[tuple(to)] += updates[at]
                else:
                    result[tuple(to)] = updates[at]
        return (result,)


class GatherND(OpRun):
    def _run(self, values: Array, places: Array, batch_dims: int = 0) -> Results:
        if batch_dims:
            raise NotImplementedError("GatherND with batch_dims")
        return (values[_index(values, places)],)


class ScatterND(OpRun):
    """Writes in place where an input and an output are one; of equal places, any may win."""

    def _run(
        self, values: Array, places: Array, updates: Array, reduction: str = "none"
    ) -> Results:
        if reduction not in {"none", ""}:
            raise NotImplementedError(f"ScatterND with {reduction}")
        result = values if id(values) in _in_place else values.copy()
        backwards = places[::-1]
        result[_index(values, backwards)] = updates[::-1]
        return (result,)


def _index(values: Array, places: Array) -> tuple[Array, ...]:
    """Return indices into the first axes; IndexFault, which a card would not report."""
    lengths = np.array(values.shape[: places.shape[-1]])
    if ((places < -lengths) | (places >= lengths)).any():
        raise IndexFault(f"{places.tolist()} of {lengths.tolist()}")
    return tuple(np.moveaxis(places, -1, 0))


class ConstantOfShape(OpRun):
    """The numbers to fill are counted in 32 bits."""

    def _run(self, shape: Array, value: Array | None = None) -> Results:
        filler = np.zeros(1, np.float32) if value is None else value
        result = garbage(tuple(shape.tolist()), filler.dtype)
        if result.size <= MOST_FILLED:
            result[...] = filler[0]
        return (result,)


class LogSoftmax(OpRun):
    """The reference takes the logarithm of what has become 0."""

    def _run(self, values: Array, axis: int = -1) -> Results:
        shifted = values - values.max(axis=axis, keepdims=True)
        return (shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True)),)


class Loop(ReferenceLoop):
    """The reference joins what steps leave; ONNX stacks it."""

    body: ReferenceEvaluator

    def _run(  # type: ignore[override]  # the reference's names are no words
        self,
        trips: Array | None,
        proceed: Array | None,
        *carried: Array,
        context: Mapping[str, Array] | None = None,
        **_: object,
    ) -> Results:
        names, count = self.body.input_names, len(carried)
        scanned: list[list[Array]] = [[] for _ in range(self.K)]
        goes_on: Any = np.ones((), np.bool_) if proceed is None else proceed
        step = 0
        while goes_on and (trips is None or step < int(trips)):
            inputs = zip(names, [np.array(step), goes_on, *carried], strict=True)
            results: Any = self.body.run(None, {**(context or {}), **dict(inputs)})
            goes_on, carried = results[0], tuple(results[1 : 1 + count])
            for parts, part in zip(scanned, results[1 + count :], strict=True):
                parts.append(part)
            step += 1
        return (*carried, *(np.stack(parts) for parts in scanned))


KERNELS: list[type[OpRun]] = [
    TopK,
    Gather,
    GatherElements,
    ScatterElements,
    GatherND,
    ScatterND,
    ConstantOfShape,
    LogSoftmax,
    Loop,
]
