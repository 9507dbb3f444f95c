"""What a client does next, drawn from a seed."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto
from random import Random

from tests.crash.ledger import Ledger
from tests.crash.operations import (
    Accept,
    Append,
    Checkpoint,
    Fork,
    Generate,
    Operation,
    Restore,
    Rewind,
    Save,
    Score,
)
from tests.server.tiny_cell import SYMBOLS

MAX_UNANSWERED = 6


class Act(Enum):
    """What a client does beside operations."""

    READ = auto()
    CANCEL = auto()
    BREAK = auto()
    HALF_CLOSE = auto()
    CLOSE_AND_KEEP = auto()
    TAKE_OVER = auto()


_KINDS: dict[type[Operation] | Act, int] = {
    Append: 30,
    Generate: 30,
    Rewind: 14,
    Accept: 6,
    Score: 6,
    Save: 4,
    Fork: 2,
    Checkpoint: 4,
    Restore: 5,
    Act.CANCEL: 6,
    Act.BREAK: 2,
    Act.HALF_CLOSE: 1,
    Act.CLOSE_AND_KEEP: 1,
    Act.TAKE_OVER: 1,
}


class Drawing:
    """Draws operations that a session of this rewind window must be able to carry out."""

    def __init__(self, random: Random, window: int) -> None:
        self.random = random
        self._window = window

    def next(self, ledger: Ledger) -> Operation | Act:
        least, _ = ledger.lengths_to_come()
        unanswered = len(ledger.open)
        if unanswered >= MAX_UNANSWERED or (unanswered and self.random.random() < 0.6):
            return Act.READ
        if least < 1:
            return self._append()
        kind = self.random.choices(list(_KINDS), list(_KINDS.values()))[0]
        if isinstance(kind, Act):
            return kind
        if kind in {Rewind, Restore}:
            rewind = self._rewind(least, ledger.high) if kind is Rewind else None
            restore = self._restore(ledger.names) if kind is Restore else None
            return rewind or restore or self._append()
        if kind is Accept and unanswered:
            return Act.READ  # its completions must not be out of date
        return self._draw(kind)

    def _draw(self, kind: type[Operation]) -> Operation:
        random = self.random
        if kind is Generate:
            return self._generate()
        if kind is Accept:
            return Accept(random.randint(1, 3), random.randint(2, 8), random.randint(0, 2))
        if kind is Score:
            return Score(self._text(20))
        if kind is Checkpoint:
            return Checkpoint(random.choice("ab"))
        if kind is Fork:
            return Fork(session_id(random), random.getrandbits(50))
        return Save() if kind is Save else self._append()

    def _append(self) -> Append:
        return Append(self._text(self.random.choice((3, 30, 300))))

    def _generate(self) -> Generate:
        random = self.random
        stops = tuple(self._text(2) for _ in range(random.choice((0, 0, 0, 1, 3))))
        seed = random.getrandbits(50) if random.random() < 0.4 else None
        temperature = random.choice((0.0, 0.7, 1.0, 1.5))
        return Generate(random.randint(1, random.choice((5, 60, 400))), temperature, seed, stops)

    def _rewind(self, least: int, high: int) -> Rewind | None:
        most = least - max(1, high - self._window)
        return Rewind(self.random.randint(1, min(most, 60))) if most > 0 else None

    def _restore(self, names: Sequence[str]) -> Restore | None:
        return Restore(self.random.choice(names)) if names else None

    def _text(self, most: int) -> str:
        return "".join(self.random.choices(SYMBOLS, k=self.random.randint(1, most)))


def session_id(random: Random) -> str:
    """Draw an id as clients do."""
    return f"{random.getrandbits(128):032x}"
