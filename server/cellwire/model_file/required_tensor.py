"""An input or output that the contract of model files requires."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import onnx

Values = Mapping[str, onnx.ValueInfoProto]
"""A graph's inputs or outputs by their names."""


@dataclass(frozen=True, slots=True)
class RequiredTensor:
    """An input or output that the contract requires of a graph."""

    direction: Literal["input", "output"]
    name: str
    element: int  # of onnx.TensorProto.DataType
    row_shape: tuple[int, ...]
    reason: str = ""  # where the shape comes from

    def check(self, values: Values) -> None:
        """Raise ValueError unless `values` has the tensor with its type and shape."""
        lengths = ["batch", *map(str, self.row_shape)]
        required = _type_name(self.element, lengths)
        reason = f", {self.reason}" if self.reason else ""
        if self.name not in values:
            raise ValueError(f"no {self.direction} {self.name!r}; add it as {required}{reason}")
        value = values[self.name]
        if value.type.tensor_type.elem_type != self.element or row_shape(value) != self.row_shape:
            found = _describe(value)
            raise ValueError(
                f"{self.direction} {self.name!r} is {found}; it must be {required}{reason}"
            )


def row_shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    """Return the shape without the batch; ValueError unless only the batch is dynamic."""
    dimensions = value.type.tensor_type.shape.dim
    if not dimensions or dimensions[0].HasField("dim_value"):
        raise ValueError(
            f"{value.name!r} is {_describe(value)}; "
            "its first dimension must be the batch, with a name in place of a number"
        )
    if not all(d.HasField("dim_value") and d.dim_value > 0 for d in dimensions[1:]):
        raise ValueError(
            f"{value.name!r} is {_describe(value)}; "
            "every dimension after the batch must be a positive number"
        )
    return tuple(d.dim_value for d in dimensions[1:])


def _describe(value: onnx.ValueInfoProto) -> str:
    """Return a tensor's type as in `float[batch, 256]`."""
    tensor = value.type.tensor_type
    lengths = [
        str(d.dim_value) if d.HasField("dim_value") else d.dim_param or "?"
        for d in tensor.shape.dim
    ]
    return _type_name(tensor.elem_type, lengths)


def _type_name(element: int, lengths: Iterable[str]) -> str:
    return f"{onnx.TensorProto.DataType.Name(element).lower()}[{', '.join(lengths)}]"
