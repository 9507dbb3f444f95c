"""Sampling parameters, and the random numbers that tokens are drawn with."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellwire.server.batch.limits import (
    DEFAULT_REPETITION_WINDOW,
    MAX_BIAS,
    MAX_BIASES,
    MAX_PENALTY,
    MAX_REPETITION_WINDOW,
    MAX_TEMPERATURE,
)
from cellwire.server.errors import InvalidArgument

# The inverse of a lower temperature overflows float32, so it counts as 0.
_MIN_TEMPERATURE = 1e-30

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF
_UNIFORM_BITS = 23


@dataclass(frozen=True, slots=True)
class Bias:
    """A number to add to a token's logit."""

    token: int
    bias: float


@dataclass(frozen=True, slots=True)
class Sampling:
    """How tokens are drawn; programs/adjusted_draw.py says in which order the parameters act."""

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    repetition_window: int = DEFAULT_REPETITION_WINDOW  # tokens
    logit_bias: tuple[Bias, ...] = ()
    seed: int | None = None  # of this operation's generator; None: the session's

    def __post_init__(self) -> None:
        # Every comparison is false for NaN.
        _check(
            "temperature",
            self.temperature,
            f"a number from 0 (always the likeliest symbol) to {MAX_TEMPERATURE:g}",
            holds=0 <= self.temperature <= MAX_TEMPERATURE,
        )
        _check("top_p", self.top_p, "above 0, and at most 1", holds=0 < self.top_p <= 1)
        _check("min_p", self.min_p, "from 0 to 1", holds=0 <= self.min_p <= 1)
        _check(
            "repetition_penalty",
            self.repetition_penalty,
            f"from 1 to {MAX_PENALTY:g}",
            holds=1 <= self.repetition_penalty <= MAX_PENALTY,
        )
        _check(
            "repetition_window",
            self.repetition_window,
            f"from 1 to {MAX_REPETITION_WINDOW:,}",
            holds=1 <= self.repetition_window <= MAX_REPETITION_WINDOW,
        )
        check_biases(len(self.logit_bias))
        for bias in self.logit_bias:
            allowed = f"from -{MAX_BIAS:g} to {MAX_BIAS:g}"
            _check("logit_bias", bias.bias, allowed, holds=abs(bias.bias) <= MAX_BIAS)
        if len({bias.token for bias in self.logit_bias}) < len(self.logit_bias):
            raise InvalidArgument("logit_bias has a symbol twice", field="sampling.logit_bias")

    @property
    def plain(self) -> bool:
        """Whether all parameters but temperature and top_k have their default."""
        return (
            self.top_p == 1
            and self.min_p == 0
            and self.repetition_penalty == 1
            and not self.logit_bias
        )

    @property
    def greedy(self) -> bool:
        """Whether the likeliest token is always chosen."""
        return self.temperature < _MIN_TEMPERATURE

    @property
    def inverse_temperature(self) -> float:
        """The factor of the logits."""
        return 1.0 if self.greedy else 1 / self.temperature

    @property
    def effective_top_k(self) -> int:
        """The number of top tokens to draw from; 0 draws from all."""
        return 1 if self.greedy else self.top_k


def check_biases(symbols: int) -> None:
    """Raise InvalidArgument for more than MAX_BIASES."""
    if symbols > MAX_BIASES:
        raise InvalidArgument(
            f"logit_bias has {symbols:,} symbols, and {MAX_BIASES} are the most",
            field="sampling.logit_bias",
        )


def _check(name: str, value: float, wanted: str, *, holds: bool) -> None:
    if not holds:
        raise InvalidArgument(f"{name} is {value}; it must be {wanted}", field=f"sampling.{name}")


def generator_key(seed: int) -> int:
    """Hash a seed to 64 bits, so that the numbers of neighbouring seeds are uncorrelated."""
    mixed = (seed + _GOLDEN) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)


def uniforms(
    keys: npt.NDArray[np.uint64], positions: npt.NDArray[np.uint64]
) -> npt.NDArray[np.float32]:
    """Return float32 numbers from [0, 1), in the shape that `keys` and `positions` broadcast to.

    SplitMix64 (Steele, Lea, Flood 2014) as a counter-based generator: each number is a pure
    function of its key and position, so a session's text is the same at any load. With 23 bits the
    largest number is 1 - 2**-23, so that `uniform * total` stays below `total` in float32.
    """
    mixed = keys + positions * np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    high: npt.NDArray[np.float32] = (mixed >> np.uint64(64 - _UNIFORM_BITS)).astype(np.float32)
    high *= np.float32(2.0**-_UNIFORM_BITS)
    return high
