"""Tensors in the card's memory, as onnxruntime's Python sees those of its native library."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar
from weakref import finalize

import numpy as np
from tests.server.card.card import Card
from tests.server.card.memory import Array, Block

_DLPACK_CUDA = 2


class NativeValue:
    """A tensor; its memory is freed with it, unless it belongs to another value."""

    card: ClassVar[Card]

    def __init__(self, block: Block, owner: NativeValue | None = None) -> None:
        self.block = block
        self._owner = owner
        self.card.values.add(self)
        if owner is None:
            finalize(self, block.free)

    @classmethod
    def ortvalue_from_numpy(cls, array: Array, device: object) -> NativeValue:
        value = cls.ortvalue_from_shape_and_type(array.shape, array.dtype.type, device)
        value.update_inplace(array)
        return value

    @classmethod
    def ortvalue_from_shape_and_type(
        cls, shape: Sequence[int], element: type[np.generic], _device: object
    ) -> NativeValue:
        cls.card.use("memory is allocated")
        return cls(cls.card.memory.allocate(tuple(shape), element, cls.card.module))

    @classmethod
    def from_dlpack(cls, capsule: NativeValue, _is_bool: bool) -> NativeValue:  # noqa: FBT001
        return cls(capsule.block, capsule)

    def __dlpack__(self, *, stream: object = None) -> NativeValue:
        return self

    def __dlpack_device__(self) -> tuple[int, int]:
        return _DLPACK_CUDA, 0

    def update_inplace(self, data: Array | NativeValue) -> None:
        self.card.use("memory is written")
        source = data.block.array if isinstance(data, NativeValue) else data
        to = self.block.array
        if source.size != to.size or source.dtype != to.dtype:
            raise RuntimeError("The source has another type or size")
        to[...] = source.reshape(to.shape)

    def numpy(self) -> Array:
        self.card.use("memory is read")
        return self.block.array.copy()

    def data_ptr(self) -> int:
        return self.block.address

    def shape(self) -> list[int]:
        return list(self.block.array.shape)

    def data_type(self) -> str:
        return f"tensor({self.block.array.dtype})"

    def device_name(self) -> str:
        return "Cuda"

    def tensor_size_in_bytes(self) -> int:
        return self.block.array.nbytes

    def _is_webgpu_buffer(self) -> bool:
        return False
