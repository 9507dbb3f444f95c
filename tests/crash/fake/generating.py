"""How the fake daemon generates: symbol by symbol, with stop strings held back."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tests.crash.fake import model

from cellwire.v1.operations_pb2 import (
    FINISH_REASON_MAX_TOKENS,
    FINISH_REASON_STOP,
    FinishReason,
    Generate,
)

_GREEDY = 99


@dataclass(slots=True)
class Generating:
    """One generate; iterating gives the symbols as they are released."""

    request: Generate
    seed: int
    state: int
    text: str  # of the session
    start: int  # offset
    held: str = ""
    reason: FinishReason.ValueType = FINISH_REASON_MAX_TOKENS
    stop_string: str = ""

    @property
    def generated(self) -> int:
        return len(self.text) + len(self.held) - self.start

    def __iter__(self) -> Iterator[str]:
        while self.generated < self.request.max_tokens:
            symbol = model.draw(self.state, self._number())
            self.state = model.read(self.state, symbol)
            self.held += symbol
            if self._stops():
                return
            yield self._release(self._safe_length())
        yield self._release(len(self.held))

    def _number(self) -> int:
        sampling = self.request.sampling
        if sampling.HasField("temperature") and sampling.temperature == 0:
            return _GREEDY
        position = len(self.text) + len(self.held)
        if sampling.HasField("seed"):
            return sampling.seed * 31 + position - self.start
        return self.seed * 31 + position

    def _stops(self) -> bool:
        for stop in self.request.stop_strings:
            if self.held.endswith(stop):
                self.reason, self.stop_string = FINISH_REASON_STOP, stop
                return True
        return False

    def _safe_length(self) -> int:
        """How many of the symbols held back can begin no stop string."""
        for begin in range(len(self.held)):
            if any(stop.startswith(self.held[begin:]) for stop in self.request.stop_strings):
                return begin
        return len(self.held)

    def _release(self, length: int) -> str:
        text, self.held = self.held[:length], self.held[length:]
        self.text += text
        return text

    def kept_before_stop(self) -> str:
        """What was held back and is no part of the stop string."""
        return self.held[: len(self.held) - len(self.stop_string)]
