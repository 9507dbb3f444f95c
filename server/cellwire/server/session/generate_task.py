"""Generate: sample text from the model."""

from __future__ import annotations

from collections.abc import Sequence

from cellwire.model_file.vocabulary import MOST_INCOMPLETE
from cellwire.server.batch.row import Row, RowResult
from cellwire.server.batch.sampling import generator_key
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.session.events import (
    Finished,
    FinishReason,
    TextEndAfter,
    TopTokens,
    Written,
)
from cellwire.server.session.operations import Generate
from cellwire.server.session.stops import Stop, Stops
from cellwire.server.session.task import (
    ADJUSTED,
    MULTI_STEP,
    SINGLE_STEP,
    Emit,
    OperationTask,
    StepTask,
)
from cellwire.server.state.state_history import StateHistory


class Credit:
    """The number of tokens a session may still generate before its reader takes some."""

    __slots__ = ("tokens",)

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens


class GenerateTask(OperationTask, StepTask):
    """Samples tokens, and holds back those that may begin a stop string."""

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
        OperationTask.__init__(self, session_id, state_history, emit)
        StepTask.__init__(self, state_history)
        self.operation = generate
        self._credit = credit
        sampling = generate.sampling
        # An operation's own generator counts from the operation's start, the session's from the
        # session's.
        self._key = session_key if sampling.seed is None else generator_key(sampling.seed)
        length, start = len(state_history), generate.start_offset
        self._start = length if start is None else start
        self._key_start = self._start if sampling.seed is not None else 0
        if generate.after_blank:
            state_history.text.blank_offset = length
        self._before = tuple(state_history.text.last(MOST_INCOMPLETE))
        self._stops = Stops(generate.stop_strings) if generate.stop_strings else None
        # The last tokens of the text, with the log-probability and the alternatives of each.
        self._held_back: list[tuple[int, float, TopTokens]] = []
        self._penalised = sampling.repetition_penalty != 1
        # These need the host between steps: the penalty's window, and the report of top tokens.
        single_step = self._penalised or generate.alternatives > 0
        several = MULTI_STEP if sampling.plain else ADJUSTED
        self.run_kind = SINGLE_STEP if single_step else several
        self.max_steps = 1 if single_step else MAX_STEPS
        if self._generated >= generate.max_tokens:  # before it was interrupted
            self.finish(FinishReason.MAX_TOKENS)

    @property
    def stalled(self) -> bool:
        """Whether the reader is behind."""
        return self._credit.tokens <= 0

    @property
    def unreported_tokens(self) -> int:
        """The number of tokens held back."""
        return len(self._held_back)

    def row(self, steps: int) -> Row:
        """Return the row that samples the next tokens."""
        history, sampling = self.state_history, self.operation.sampling
        length = history.text.length
        left = self.operation.max_tokens - (length - self._start)
        count = min(steps, left, history.steps_to_checkpoint, self._credit.tokens)
        # A stop string may end before the last of several steps: the run has then read too far.
        keep_head = count > 1 and self._stops is not None
        token, read_slot = history.unread_token, history.head.slot
        write_slot = history.reserve_write_slot(count, keep_head=keep_head)
        recent = history.text.last(sampling.repetition_window) if self._penalised else ()
        position, top_tokens = length - self._key_start, self.operation.alternatives
        # By position, which takes half the time: there is a row for every session in every run.
        return Row(
            token,
            read_slot,
            write_slot,
            count,
            (),
            sampling,
            self._key,
            position,
            recent,
            top_tokens,
        )

    def commit(self, result: RowResult) -> None:
        """Add the tokens to the text, and report those that no stop string can take back."""
        tokens, stop = self._until_stop(result.tokens)
        count = len(tokens)
        if count == len(result.tokens):
            self.state_history.advance(count)
        else:
            self.state_history.discard_write()
        self.state_history.append_tokens(tokens)
        top_tokens = (result.top_tokens,) * count
        if self._stops is None:
            offset = self.state_history.text.length - count
            self._report(offset, tokens, result.log_probabilities, top_tokens)
        else:
            self._held_back += zip(tokens, result.log_probabilities, top_tokens, strict=False)
            if stop is not None:
                self._stop_before(stop)
                return
            self._report_first(len(self._held_back) - self._stops.begun)
        if self._generated == self.operation.max_tokens:
            self.finish(FinishReason.MAX_TOKENS)

    def _until_stop(self, tokens: list[int]) -> tuple[list[int], Stop | None]:
        """Return the tokens up to the end of the first stop string, and that string."""
        if self._stops is not None:
            for count, token in enumerate(tokens, start=1):
                if stop := self._stops.feed(token):
                    return tokens[:count], stop
        return tokens, None

    def _stop_before(self, stop: Stop) -> None:
        self.state_history.rewind(self.state_history.text.length - len(stop))
        del self._held_back[-len(stop) :]
        self._finish(FinishReason.STOP, stop)

    def finish(self, reason: FinishReason) -> None:
        """End; the generated text stays."""
        self._finish(reason, None)

    def _finish(self, reason: FinishReason, stop: Stop | None) -> None:
        self.flush()
        self.emit(
            Finished(
                self.session_id,
                self.operation.id,
                reason,
                len(self.state_history),
                generated_tokens=self._generated,
                stop_string=stop,
                stop_text=self._stop_text(stop),
                after=TextEndAfter(self.operation, self.state_history.text.end),
            )
        )
        self.ended = True

    def _stop_text(self, stop: Stop | None) -> str:
        """Return a stop string as the client has sent it: the first that has these tokens."""
        stops = zip(self.operation.stop_strings, self.operation.stop_texts, strict=False)
        return next((text for tokens, text in stops if tokens == stop), "")

    @property
    def _generated(self) -> int:
        return self.state_history.text.length - self._start

    def flush(self) -> None:
        """Report the tokens held back."""
        self._report_first(len(self._held_back))

    def _report_first(self, count: int) -> None:
        """Report the first `count` tokens held back."""
        if count > 0:
            offset = self.state_history.text.length - len(self._held_back)
            tokens, log_probabilities, top_tokens = zip(*self._held_back[:count], strict=True)
            del self._held_back[:count]
            self._report(offset, tokens, log_probabilities, top_tokens)

    def _report(
        self,
        offset: int,
        tokens: Sequence[int],
        log_probabilities: Sequence[float],
        top_tokens: Sequence[TopTokens],
    ) -> None:
        alternatives = tuple(top_tokens) if self.operation.alternatives else ()
        # By position, as the rows.
        self.emit(
            Written(
                self.session_id,
                self.operation,
                offset,
                tokens,
                log_probabilities,
                self._before,
                alternatives,
                offset == self.state_history.text.blank_offset,
            )
        )
        self._credit.tokens -= len(tokens)
