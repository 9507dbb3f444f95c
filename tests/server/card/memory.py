"""A card's memory: apart from the host's, with addresses that mean nothing to the host."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_FIRST_ADDRESS = 0xCA4D << 44
_ALIGNMENT = 256
_FIRST_REGION = 2**20


def garbage(shape: tuple[int, ...], dtype: npt.DTypeLike) -> Array:
    """What is in memory that nothing was written to: NaN, or numbers that index nothing."""
    array = np.empty(shape, dtype)
    kind = array.dtype.kind
    array.fill(np.nan if kind == "f" else True if kind == "b" else np.iinfo(array.dtype).max // 3)
    return array


@dataclass(eq=False)
class Block:
    """Memory at an address of the card; an array that only the stand-in sees."""

    array: Array
    address: int
    allocator: Allocator
    alive: bool = True

    def free(self) -> None:
        """Give it back; what is read there afterwards is garbage."""
        self.alive = False
        self.array[...] = garbage(self.array.shape, self.array.dtype)
        self.allocator.give(self.array.nbytes)
        self.allocator.memory.forget(self)


@dataclass(eq=False)
class Allocator:
    """One of ONNX Runtime's arenas: it keeps all that it ever took, until it ends itself."""

    memory: Memory = field(repr=False)
    doubles: bool  # each region has twice the size of the one before
    used_bytes: int = 0
    reserved_bytes: int = 0
    _region_bytes: int = _FIRST_REGION

    def take(self, count: int) -> None:
        self.used_bytes += count
        missing = self.used_bytes - self.reserved_bytes
        if missing <= 0:
            return
        if self.doubles:
            while self._region_bytes < missing:
                self._region_bytes *= 2
            missing, self._region_bytes = self._region_bytes, 2 * self._region_bytes
        try:
            self.memory.reserve(missing)
        except RuntimeError:
            self.used_bytes -= count
            raise
        self.reserved_bytes += missing

    def give(self, count: int) -> None:
        self.used_bytes -= count

    def end(self) -> None:
        """Give everything back to the card."""
        self.memory.reserved_bytes -= self.reserved_bytes
        self.reserved_bytes = 0


@dataclass(eq=False)
class Memory:
    """All blocks of a card, by their addresses."""

    total_bytes: int
    reserved_bytes: int = 0
    _blocks: list[Block] = field(
        default_factory=list, repr=False
    )  # in the order of their addresses
    _next: int = _FIRST_ADDRESS

    def reserve(self, count: int) -> None:
        if self.reserved_bytes + count > self.total_bytes:
            raise RuntimeError(f"Failed to allocate memory for requested buffer of size {count}")
        self.reserved_bytes += count

    def allocate(self, shape: tuple[int, ...], dtype: npt.DTypeLike, allocator: Allocator) -> Block:
        # Reckoned first: an array that is too large must not be made.
        count = int(np.prod(shape, dtype=np.float64)) * np.dtype(dtype).itemsize
        allocator.take(count)
        block = Block(garbage(shape, dtype), self._next, allocator)
        self._next += -(-max(count, 1) // _ALIGNMENT) * _ALIGNMENT
        self._blocks.append(block)
        return block

    def forget(self, block: Block) -> None:
        self._blocks.remove(block)

    def find(self, address: int) -> Block | None:
        """Return the block that holds an address; None if it is none of the card's."""
        place = bisect_right(self._blocks, address, key=lambda block: block.address) - 1
        if place < 0:
            return None
        block = self._blocks[place]
        return block if address < block.address + max(block.array.nbytes, 1) else None

    def view(
        self, address: int, shape: tuple[int, ...], dtype: npt.DTypeLike
    ) -> tuple[Block, Array]:
        """Return the block at an address, and the array of a shape that begins there."""
        block = self.find(address)
        if block is None:
            raise RuntimeError(f"{address:#x} is no address of the card's memory")
        if np.dtype(dtype) != block.array.dtype:
            raise RuntimeError(f"memory of {block.array.dtype} is bound as {np.dtype(dtype)}")
        start = (address - block.address) // block.array.itemsize
        flat = block.array.reshape(-1)[start : start + int(np.prod(shape))]
        return block, flat.reshape(shape)
