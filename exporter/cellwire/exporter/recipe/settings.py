"""The base of a recipe's tables, and the numbers in them."""

from __future__ import annotations

import math
from typing import Annotated

from msgspec import Meta, Struct

MOST = 10**12  # more than any machine computes, and few enough for all arithmetic
PositiveInt = Annotated[int, Meta(ge=1, le=MOST)]
NonNegativeInt = Annotated[int, Meta(ge=0, le=MOST)]
NonNegativeFloat = Annotated[float, Meta(ge=0)]
PositiveFloat = Annotated[float, Meta(gt=0)]
Probability = Annotated[float, Meta(ge=0, lt=1)]


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The base of a recipe's tables."""

    def __post_init__(self) -> None:
        """Refuse infinite numbers: they pass a range without an upper end, and JSON has none."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}, and must be a finite number")
