"""Generate: let the model write."""

from __future__ import annotations

from cellwire.server.events import Finished, FinishReason, Ranked, Written
from cellwire.server.operations import Generate
from cellwire.server.row import Outcome, Row
from cellwire.server.run import Emit, Run
from cellwire.server.sampling import generator_key
from cellwire.server.step import MAX_STEPS
from cellwire.server.trail import Trail

_BEFORE = 3  # tokens: as many bytes as can begin a character that is not whole yet


class Credit:
    """How many tokens a session may still write before its reader has taken any."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens


class Generating(Run):
    """Draws tokens, and holds back what may become a stop string."""

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
        # The last tokens of the text, with log-probabilities and alternatives of each.
        self._held_back: list[tuple[int, float, Ranked]] = []

    @property
    def stalled(self) -> bool:
        """Whether the reader is behind."""
        return self._credit.tokens <= 0

    @property
    def unreported(self) -> int:
        """How many tokens are held back."""
        return len(self._held_back)

    @property
    def stride(self) -> int:
        """One step where each depends on what the one before it drew; else as many as can be."""
        penalised = self.operation.sampling.repetition_penalty != 1
        return 1 if penalised or self.operation.alternatives else MAX_STEPS

    def rows(self, steps: int) -> list[Row]:
        """Return the row that draws the next tokens."""
        trail, operation = self.trail, self.operation
        sampling = operation.sampling
        token, slot, length = trail.unread, trail.head.slot, len(trail)
        left = operation.max_chars - (length - self._start)
        count = min(steps, left, trail.stride, self._credit.tokens)
        recent = (
            trail.history.last(sampling.repetition_window)
            if sampling.repetition_penalty != 1
            else ()
        )
        return [
            Row(
                token,
                slot,
                # A stop string may come before the last of several steps: too far to go.
                trail.place_to_write(count, anew=count > 1 and bool(operation.stop)),
                count,
                sampling=sampling,
                key=self._key,
                position=length - self._first,
                recent=recent,
                best=operation.alternatives,
            )
        ]

    def commit(self, outcomes: list[Outcome]) -> None:
        """Add the tokens to the text, and say so as soon as no stop string can take them back."""
        (outcome,) = outcomes
        tokens, stop = self._up_to_stop(outcome.tokens)
        if len(tokens) == len(outcome.tokens):
            self.trail.advance(len(tokens))
        else:
            self.trail.stay()
        self.trail.settle(tokens)
        alternatives = [outcome.best] * len(tokens)
        self._held_back += zip(tokens, outcome.log_probabilities, alternatives, strict=False)
        if stop is not None:
            self.trail.rewind(len(self.trail) - len(stop))
            del self._held_back[-len(stop) :]
            self._write(len(self._held_back))
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

    def _write(self, count: int) -> None:
        """Report the first of the tokens that were held back."""
        if count <= 0:
            return
        offset = len(self.trail) - len(self._held_back)
        tokens, log_probabilities, best = zip(*self._held_back[:count], strict=True)
        del self._held_back[:count]
        alternatives = best if self.operation.alternatives else ()
        self.emit(
            Written(
                self.session_id,
                self.operation,
                offset,
                tokens,
                log_probabilities,
                self._before,
                alternatives,
            )
        )
        self._credit.tokens -= count

    def _up_to_stop(self, tokens: list[int]) -> tuple[list[int], tuple[int, ...] | None]:
        """Return the tokens up to the first end of a stop string, and that string, if there is one.

        Of those that end there, it is the longest.
        """
        stops = self.operation.stop
        if not stops:
            return tokens, None
        longest = max(map(len, stops))
        before = list(self.trail.history.last(min(self._written, longest)))
        for count in range(1, len(tokens) + 1):
            text = tuple(before + tokens[:count])
            if stop := max((s for s in stops if text[-len(s) :] == s), key=len, default=None):
                return tokens[:count], stop
        return tokens, None

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
