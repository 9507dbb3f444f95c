"""Inputs and outputs that the contract of model files requires, held against those there are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import onnx

Values = Mapping[str, onnx.ValueInfoProto]
"""A graph's inputs or outputs by their names."""

_SHOWN_NAMES = 8
_FLOATS = {
    onnx.TensorProto.FLOAT,
    onnx.TensorProto.FLOAT16,
    onnx.TensorProto.BFLOAT16,
    onnx.TensorProto.DOUBLE,
}


@dataclass(frozen=True, slots=True)
class RequiredTensor:
    """An input or output that the contract requires of a graph.

    Sizes of an output may have names instead of numbers: a run of the cell shows them.
    """

    direction: Literal["input", "output"]
    name: str
    element: int  # of onnx.TensorProto.DataType
    row_shape: tuple[int, ...]
    reason: str = ""  # where the shape comes from

    def faults(self, values: Values, candidates: Sequence[str] = ()) -> Iterator[str]:
        """Yield what is wrong with the tensor in `values`.

        `candidates` are values with names outside the contract, of which one may be meant.
        """
        if self.name not in values:
            yield self._missing(values, candidates)
        elif not self._fits(values[self.name]):
            found = describe(values[self.name])
            yield (
                f"{self.direction} {self.name!r} is {found}; it must be {self.required}"
                f"{self._because}"
            )

    @property
    def required(self) -> str:
        """The type that is required, as in `float[batch, 256]`."""
        return type_name(self.element, ["batch", *map(str, self.row_shape)])

    @property
    def _because(self) -> str:
        return f", {self.reason}" if self.reason else ""

    def _missing(self, values: Values, candidates: Sequence[str]) -> str:
        missing = f"no {self.direction} {self.name!r}"
        if meant := next((c for c in candidates if self._may_be(values[c])), None):
            found = describe(values[meant])
            change = "" if self._fits(values[meant]) else f" and make it {self.required}"
            return (
                f"{missing}; there are: {shown_names(values)}; perhaps {meant!r} ({found}) is "
                f"meant: rename it {self.name!r}{change}{self._because}"
            )
        there = f"; there are: {shown_names(values)}" if values else ""
        return f"{missing}{there}; add it as {self.required}{self._because}"

    def _fits(self, value: onnx.ValueInfoProto) -> bool:
        tensor = value.type.tensor_type
        dimensions = tensor.shape.dim
        if tensor.elem_type != self.element or batch_is_fixed(value):
            return False
        if len(dimensions) != 1 + len(self.row_shape):
            # Without a shape, a run of the cell shows it; an input must say it.
            return self.direction == "output" and not tensor.HasField("shape")
        free = self.direction == "output"
        return all(
            d.dim_value == size if d.HasField("dim_value") else free
            for d, size in zip(dimensions[1:], self.row_shape, strict=True)
        )

    def _may_be(self, value: onnx.ValueInfoProto) -> bool:
        """Whether a value of another name may be meant: by its kind of number, and last size."""
        tensor = value.type.tensor_type
        integers = {onnx.TensorProto.INT64, onnx.TensorProto.INT32}
        if (tensor.elem_type in integers) != (self.element in integers):
            return False
        dimensions = tensor.shape.dim
        last = dimensions[-1] if self.row_shape and dimensions else None
        return last is None or not last.dim_value or last.dim_value == self.row_shape[-1]


def batch_is_fixed(value: onnx.ValueInfoProto) -> bool:
    """Whether the first dimension is a number, or missing."""
    tensor = value.type.tensor_type
    dimensions = tensor.shape.dim
    return tensor.HasField("shape") and (not dimensions or dimensions[0].HasField("dim_value"))


def is_float(value: onnx.ValueInfoProto) -> bool:
    """Whether a value holds floats of some width."""
    return value.type.tensor_type.elem_type in _FLOATS


def shape_fault(value: onnx.ValueInfoProto) -> str:
    """Return what is wrong with the shape of a state; empty if only the batch is dynamic."""
    found = f"{value.name!r} is {describe(value)}"
    if batch_is_fixed(value) or not value.type.tensor_type.shape.dim:
        return (
            f"{found}; its first dimension must be the batch, with a name in place of a number: "
            "whatever comes first in the network, transpose it inside the cell"
        )
    if not all(d.dim_value > 0 for d in value.type.tensor_type.shape.dim[1:]):
        return f"{found}; every dimension after the batch must be a positive number"
    return ""


def row_shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return the shape without the batch; 0 for what is no number."""
    return tuple(d.dim_value for d in value.type.tensor_type.shape.dim[1:])


def describe(value: onnx.ValueInfoProto) -> str:
    """Return a value's type as in `float[batch, 256]`."""
    if not value.type.HasField("tensor_type"):
        kind = value.type.WhichOneof("value") or "untyped"
        return f"a {kind.removesuffix('_type').replace('_', ' ')}, not a tensor"
    tensor = value.type.tensor_type
    if not tensor.HasField("shape"):
        return type_name(tensor.elem_type, ["..."])
    lengths = [
        str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?"
        for d in tensor.shape.dim
    ]
    return type_name(tensor.elem_type, lengths)


def type_name(element: int, lengths: Iterable[str]) -> str:
    """Return a tensor's type as in `float[batch, 256]`."""
    known = element in onnx.TensorProto.DataType.values()
    name = onnx.TensorProto.DataType.Name(element).lower() if known else f"type {element}"
    return f"{name}[{', '.join(lengths)}]"


def shown_names(names: Iterable[str]) -> str:
    """Return names as a list, of which a long one is cut."""
    quoted = [repr(name[:80]) for name in names]
    more = f" and {len(quoted) - _SHOWN_NAMES} more" if len(quoted) > _SHOWN_NAMES else ""
    return ", ".join(quoted[:_SHOWN_NAMES]) + more
