"""Generate: let the model write."""

from __future__ import annotations

from collections.abc import Sequence

from cellwire.model_file.vocabulary import MOST_INCOMPLETE
from cellwire.server.batch.row import Row, RowResult
from cellwire.server.batch.sampling import generator_key
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.session.events import Finished, FinishReason, TopTokens, Written
from cellwire.server.session.operations import Generate
from cellwire.server.session.stops import Stop, Stops
from cellwire.server.session.task import Emit, StepTask
from cellwire.server.state.state_history import StateHistory


class Credit:
    """How many tokens a session may still write before its reader has taken any."""

    __slots__ = ("tokens",)

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens


class GenerateTask(StepTask):
    """Draws tokens, and holds back what may become a stop string."""

    operation: Generate

    def __init__(
        self,
        session_id: str,
        state_history: StateHistory,
        emit: Emit,
        generate: Generate,
        session_key: int,
        credit: Credit,
    ) -> None:
        super().__init__(session_id, state_history, emit)
        self.operation = generate
        self._credit = credit
        sampling = generate.sampling
        # A generator of its own counts from here; the session's counts from the session's start.
        self._key = session_key if sampling.seed is None else generator_key(sampling.seed)
        self._first = len(state_history) if sampling.seed is not None else 0
        self._start = len(state_history)
        self._before = tuple(state_history.history.last(MOST_INCOMPLETE))
        self._stops = Stops(generate.stop) if generate.stop else None
        # The last tokens of the text, with log-probabilities and alternatives of each.
        self._held_back: list[tuple[int, float, TopTokens]] = []
        self._penalised = sampling.repetition_penalty != 1
        # One step where each depends on what the one before it drew; else as many as can be.
        self.max_steps = 1 if self._penalised or generate.alternatives else MAX_STEPS

    @property
    def stalled(self) -> bool:
        """Whether the reader is behind."""
        return self._credit.tokens <= 0

    @property
    def unreported(self) -> int:
        """How many tokens are held back."""
        return len(self._held_back)

    def row(self, steps: int) -> Row:
        """Return the row that draws the next tokens."""
        state_history, operation = self.state_history, self.operation
        token, slot, length = (
            state_history.unread_token,
            state_history.head.slot,
            state_history.history.length,
        )
        left = operation.max_tokens - (length - self._start)
        count = min(steps, left, state_history.steps_to_checkpoint, self._credit.tokens)
        # A stop string may come before the last of several steps: too far to go.
        write_slot = state_history.reserve_write_slot(
            count, anew=count > 1 and self._stops is not None
        )
        sampling = operation.sampling
        recent = state_history.history.last(sampling.repetition_window) if self._penalised else ()
        position = length - self._first
        best = operation.alternatives
        return Row(token, slot, write_slot, count, (), sampling, self._key, position, recent, best)

    def commit(self, outcome: RowResult) -> None:
        """Add the tokens to the text, and say so as soon as no stop string can take them back."""
        tokens, stop = self._up_to_stop(outcome.tokens)
        count = len(tokens)
        if count == len(outcome.tokens):
            self.state_history.advance(count)
        else:
            self.state_history.discard_write()
        self.state_history.settle(tokens)
        ranked = (outcome.top_tokens,) * count
        if self._stops is None:
            self._report(
                self.state_history.history.length - count, tokens, outcome.log_probabilities, ranked
            )
        else:
            self._held_back += zip(tokens, outcome.log_probabilities, ranked, strict=False)
            if stop is not None:
                self.state_history.rewind(self.state_history.history.length - len(stop))
                del self._held_back[-len(stop) :]
                self.finish(FinishReason.STOP, stop)
                return
            self._let_out(len(self._held_back) - self._stops.begun)
        if self._written == self.operation.max_tokens:
            self.finish(FinishReason.MAX_TOKENS)

    def _up_to_stop(self, tokens: list[int]) -> tuple[list[int], Stop | None]:
        """Return the tokens up to the end of a stop string, and that string, if there is one."""
        if self._stops is not None:
            for count, token in enumerate(tokens, start=1):
                if stop := self._stops.feed(token):
                    return tokens[:count], stop
        return tokens, None

    def finish(self, reason: FinishReason, stop: Stop | None = None) -> None:
        """End; what has been written stays."""
        self._let_out(len(self._held_back))
        self.emit(
            Finished(
                self.session_id,
                self.operation.id,
                reason,
                len(self.state_history),
                generated_tokens=self._written,
                stop=stop,
            )
        )
        self.ended = True

    @property
    def _written(self) -> int:
        return self.state_history.history.length - self._start

    def _let_out(self, count: int) -> None:
        """Report the first of the tokens that were held back."""
        if count > 0:
            offset = self.state_history.history.length - len(self._held_back)
            tokens, log_probabilities, ranked = zip(*self._held_back[:count], strict=True)
            del self._held_back[:count]
            self._report(offset, tokens, log_probabilities, ranked)

    def _report(
        self,
        offset: int,
        tokens: Sequence[int],
        log_probabilities: Sequence[float],
        ranked: Sequence[TopTokens],
    ) -> None:
        alternatives = tuple(ranked) if self.operation.alternatives else ()
        session_id, operation, before = self.session_id, self.operation, self._before
        self.emit(
            Written(session_id, operation, offset, tokens, log_probabilities, before, alternatives)
        )
        self._credit.tokens -= len(tokens)
