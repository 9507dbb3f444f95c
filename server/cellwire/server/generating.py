"""Generate: let the model write."""

from __future__ import annotations

from collections import deque

from cellwire.server.events import Finished, FinishReason, Written
from cellwire.server.operations import Generate
from cellwire.server.row import Outcome, Row
from cellwire.server.run import Emit, Run
from cellwire.server.sampling import generator_key
from cellwire.server.trail import Trail

_BEFORE = 3  # tokens: as many bytes as can begin a character that is not whole yet


class Credit:
    """How many tokens a session may still write before its reader has taken any."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens


class Generating(Run):
    """Draws one token after the other, and holds back what may become a stop string."""

    operation: Generate

    def __init__(
        self,
        session_id: str,
        trail: Trail,
        emit: Emit,
        generate: Generate,
        session_key: int,
        credit: Credit,
    ) -> None:
        super().__init__(session_id, trail, emit)
        self.operation = generate
        self._credit = credit
        seed = generate.sampling.seed
        # A generator of its own counts from here; the session's counts from the session's start.
        self._key = session_key if seed is None else generator_key(seed)
        self._first = len(trail) if seed is not None else 0
        self._start = len(trail)
        self._before = tuple(trail.history.last(_BEFORE))
        self._held_back: deque[Written] = deque()

    @property
    def stalled(self) -> bool:
        """Whether the reader is behind."""
        return self._credit.tokens <= 0

    @property
    def unreported(self) -> int:
        """How many tokens are held back."""
        return len(self._held_back)

    def rows(self) -> list[Row]:
        """Return the row that draws the next token."""
        trail, sampling = self.trail, self.operation.sampling
        token, slot = trail.unread, trail.head.slot
        recent = (
            trail.history.last(sampling.repetition_window)
            if sampling.repetition_penalty != 1
            else ()
        )
        return [
            Row(
                token,
                slot,
                trail.place_to_write(),
                sampling=sampling,
                key=self._key,
                position=len(trail) - self._first,
                recent=recent,
                best=self.operation.alternatives,
            )
        ]

    def commit(self, outcomes: list[Outcome]) -> None:
        """Add the token to the text, and say so as soon as no stop string can take it back."""
        (outcome,) = outcomes
        self.trail.advance()
        offset = len(self.trail)
        self.trail.settle(outcome.token)
        self._held_back.append(
            Written(
                self.session_id,
                self.operation,
                offset,
                outcome.token,
                outcome.log_probability,
                self._before,
                outcome.best,
            )
        )
        stop = self._stop()
        if stop is not None:
            self.trail.rewind(len(self.trail) - len(stop))
            self._write(len(self._held_back) - len(stop))
            self._end(FinishReason.STOP, stop)
        elif self._written == self.operation.max_chars:
            self.finish(FinishReason.MAX_CHARS)
        else:
            self._write(len(self._held_back) - self._maybe_stop())

    def finish(self, reason: FinishReason) -> None:
        """End; what has been written stays."""
        self._write(len(self._held_back))
        self._end(reason)

    def _end(self, reason: FinishReason, stop: tuple[int, ...] | None = None) -> None:
        self.emit(
            Finished(
                self.session_id,
                self.operation.id,
                reason,
                len(self.trail),
                generated_chars=self._written,
                stop=stop,
            )
        )
        self.ended = True

    @property
    def _written(self) -> int:
        return len(self.trail) - self._start

    def _write(self, tokens: int) -> None:
        """Report the first of the tokens that were held back."""
        for _ in range(tokens):
            self.emit(self._held_back.popleft())
        self._credit.tokens -= tokens

    def _stop(self) -> tuple[int, ...] | None:
        """Return the stop string the text has come to, the longest if there are several."""
        return max(filter(self._ends_with, self.operation.stop), key=len, default=None)

    def _maybe_stop(self) -> int:
        """Return how many of the last tokens may be the beginning of a stop string."""
        longest = 0
        for stop in self.operation.stop:
            for length in range(len(stop) - 1, longest, -1):
                if self._ends_with(stop[:length]):
                    longest = length
                    break
        return longest

    def _ends_with(self, tokens: tuple[int, ...]) -> bool:
        return (
            self._written >= len(tokens) and tuple(self.trail.history.last(len(tokens))) == tokens
        )
