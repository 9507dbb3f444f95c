"""How the next token is drawn: the caller's choice, and the random numbers behind it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from cellwire.server.errors import InvalidRequest

MAX_TEMPERATURE = 100.0

# So steep that every symbol but the likeliest gets probability 0; with a uniform of 0 a tie goes to
# the lowest token. Greedy choice needs no program of its own.
GREEDY_INVERSE_TEMPERATURE = 1e30

_GOLDEN = 0x9E3779B97F4A7C15
_MASK = 0xFFFFFFFFFFFFFFFF
_UNIFORM_BITS = 23


@dataclass(frozen=True, slots=True)
class Sampling:
    """How to draw from the model's distribution."""

    temperature: float = 1.0
    top_k: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.temperature <= MAX_TEMPERATURE:  # false for NaN, too
            raise InvalidRequest(
                f"temperature is {self.temperature}; it must be a number from 0 (always the "
                f"likeliest symbol) to {MAX_TEMPERATURE:g}"
            )

    @property
    def greedy(self) -> bool:
        """Whether the likeliest symbol is always taken."""
        return self.temperature < 1 / GREEDY_INVERSE_TEMPERATURE

    @property
    def inverse_temperature(self) -> float:
        """What the logits are multiplied with."""
        return GREEDY_INVERSE_TEMPERATURE if self.greedy else 1 / self.temperature


def generator_key(seed: int) -> int:
    """Spread a seed over 64 bits, so that neighbouring seeds have nothing in common."""
    mixed = (seed + _GOLDEN) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)


def uniforms(
    keys: npt.NDArray[np.uint64], positions: npt.NDArray[np.uint64]
) -> npt.NDArray[np.float32]:
    """Return a float32 `[batch]` from [0, 1): a pure function of each row's key and position.

    SplitMix64 (Steele, Lea, Flood 2014) as a counter-based generator. No row's number depends on
    any other's, which is what keeps a session's text the same at any load. 23 bits leave a step of
    2**-23 below 1, so that `uniform * total` stays below `total` in float32.
    """
    mixed = keys + positions * np.uint64(_GOLDEN)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = mixed ^ (mixed >> np.uint64(31))
    high: npt.NDArray[np.float32] = (mixed >> np.uint64(64 - _UNIFORM_BITS)).astype(np.float32)
    high *= np.float32(2.0**-_UNIFORM_BITS)
    return high
