"""A deterministic model of symbols whose state depends on the whole text before."""

from __future__ import annotations

from tests.server.tiny_cell import SYMBOLS

_FACTOR, _MASK = 6_364_136_223_846_793_005, (1 << 64) - 1


def read(state: int, text: str) -> int:
    """Return the state after some more text."""
    for symbol in text:
        state = (state * _FACTOR + ord(symbol) + 1) & _MASK
    return state


def draw(state: int, number: int) -> str:
    """Draw the next symbol with a random number."""
    return SYMBOLS[(read(state ^ number, "a") >> 33) % len(SYMBOLS)]


def log_probability(state: int, text: str) -> float:
    """Return the log-probability of a text that follows."""
    total = 0.0
    for symbol in text:
        state = read(state, symbol)
        total -= (state >> 40) / 1e7
    return total
