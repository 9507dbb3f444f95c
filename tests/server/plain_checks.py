"""Checks of an engine's events against plain sessions; see plain_session.py."""

from __future__ import annotations

from collections.abc import Sequence
from typing import get_args

from tests.server.plain_session import PlainSession, beam_search, log_probability
from tests.server.plain_stepper import likeliest_after, log_probability_of

from cellwire.model_file.vocabulary import BEGINNING, SETTLED
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import FailedPrecondition, NotFound, OutOfRange, ResourceExhausted
from cellwire.server.session.events import (
    Appended,
    Attached,
    Classified,
    Closed,
    Completed,
    Detached,
    Event,
    Finished,
    FinishReason,
    Forked,
    Rejected,
    Rewound,
    Scored,
    Written,
)
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import (
    TEXT_CHANGING,
    Accept,
    Append,
    Classify,
    Close,
    Complete,
    Fork,
    Generate,
    Operation,
    Rewind,
    Score,
)

CANCEL_ID = 9_999
LIMITS = Limits(waiting_operations=4, waiting_tokens=30, read_ahead_tokens=12)


class PlainChecks:
    """Checks events, and updates the plain sessions."""

    engine: Engine
    plain: dict[str, PlainSession]
    heads: dict[str, Operation | None]  # the first operations before the events that are checked

    def check(self, plain: PlainSession, event: Event) -> None:  # noqa: C901, PLR0912  # one case an event
        match event:
            case Written():
                self.check_written(plain, event)
            case Appended():
                self.check_appended(plain, event)
            case Finished():
                self.check_finished(plain, event)
            case Completed():
                self.check_completed(plain, event)
            case Attached():
                assert list(event.tokens) == list(plain.text[event.offset :])
                assert event.offset + len(event.tokens) == len(plain.text)
                assert event.operation_ids == tuple(o.id for o in plain.operations)
                plain.held = False
                plain.granted = plain.written + LIMITS.read_ahead_tokens
            case Rewound():
                self.check_rewound(plain, event)
            case Forked():
                if event.operation_id is None:
                    return
                fork = plain.take(event.operation_id)
                assert isinstance(fork, Fork)
                assert event.offset == len(plain.text)
                self.check_copy(event.session_id, event.new_session_id, fork.seed)
            case Scored():
                score = plain.take(event.operation_id)
                assert isinstance(score, Score)
                assert event.log_probability == plain.score(score)
                stays, scored = plain.read_again(score)
                assert event.scored_tokens == max(0, len(scored) - (not stays))
                assert len(event.log_probabilities) == score.log_probabilities * len(scored)
            case Classified():
                self.check_classified(plain, event)
            case Rejected() if event.operation_id != CANCEL_ID:
                self.check_rejected(plain, event)
            case Detached():
                assert event.operation_id is not None
                close = plain.take(event.operation_id)
                assert isinstance(close, Close)
                assert close.keep
            case Closed():
                plain.closed = True
                plain.operations.clear()
            case _:
                pass

    def check_rewound(self, plain: PlainSession, event: Rewound) -> None:
        rewind = plain.take(event.operation_id)
        assert isinstance(rewind, Rewind)
        assert plain.may_rewind(rewind)
        assert event.offset == plain.target(rewind)
        plain.cut(event.offset)
        plain.completions = None
        plain.text_end = SETTLED if plain.text else BEGINNING

    def check_classified(self, plain: PlainSession, event: Classified) -> None:
        assert isinstance(plain.take(event.operation_id), Classify)
        assert event.scores == plain.scores()
        assert event.offset == len(plain.text)

    def check_written(self, plain: PlainSession, event: Written) -> None:
        generate = plain.operations[0]
        assert event.operation is generate
        assert event.offset == len(plain.text)
        start = len(plain.text) - plain.written_by_head
        assert len(event.alternatives) == (len(event.tokens) if generate.alternatives else 0)
        ranked = event.alternatives or ((),) * len(event.tokens)
        positions = zip(event.tokens, event.log_probabilities, ranked, strict=True)
        for token, log, alternatives in positions:
            text = tuple(plain.text)
            assert token == plain.next_token(event.operation, start, text)
            assert log == log_probability_of(text, token)
            assert list(alternatives) == likeliest_after(text)[: event.operation.alternatives]
            plain.grow(token)
        plain.written_by_head += len(event.tokens)
        plain.written += len(event.tokens)
        # Tokens held back are reported together at the end.
        spare = max(map(len, event.operation.stop_strings), default=0)
        assert plain.written <= plain.granted + spare, "more was generated than granted"

    def check_appended(self, plain: PlainSession, event: Appended) -> None:
        operation = plain.take(event.operation_id)
        assert isinstance(operation, Append | Accept)
        if isinstance(operation, Append):
            assert plain.may_read_again(operation)
            stays, tokens = plain.read_again(operation)
        else:
            assert plain.completions is not None
            stays = tuple(plain.text)
            tokens = plain.completions[operation.index].tokens[: operation.tokens or None]
        if isinstance(operation, Accept) and not operation.tokens:
            assert plain.completions is not None
            assert event.log_probability == plain.completions[operation.index].log_probability
        assert event.log_probability == log_probability(stays, tokens)
        assert event.replaced == len(plain.text) - len(stays)
        plain.cut(len(stays))
        plain.grow(*tokens)
        plain.completions = None
        plain.text_end = operation.text_end if isinstance(operation, Append) else SETTLED
        assert event.offset == len(plain.text)

    def was_running(self, plain: PlainSession, event: Finished) -> bool:
        first = plain.operations[0]
        if event.reason is FinishReason.CANCELLED and self.heads[event.session_id] is not first:
            return False  # one before it was cancelled at the same time
        return first.id == event.operation_id

    def check_finished(self, plain: PlainSession, event: Finished) -> None:
        running = self.was_running(plain, event)
        operation = plain.take(event.operation_id)
        if event.reason is FinishReason.SUPERSEDED:
            assert isinstance(operation, Complete)
            assert isinstance(plain.operations[-1], get_args(TEXT_CHANGING))
        elif event.reason is FinishReason.CANCELLED:
            tokens: Sequence[int] = ()
            if isinstance(operation, Append):
                stays, tokens = plain.read_again(operation)
                if event.replaced or event.appended_tokens:
                    assert plain.may_read_again(operation)
                    assert event.replaced == len(plain.text) - len(stays)
                    plain.cut(len(stays))
            elif isinstance(operation, Accept) and event.appended_tokens:
                assert plain.completions is not None
                tokens = plain.completions[operation.index].tokens
            plain.grow(*tokens[: event.appended_tokens])
        else:
            assert isinstance(operation, Generate)
            start = len(plain.text) - plain.written_by_head
            assert plain.generated(operation, start) == (tuple(plain.text), event.reason)
            if event.stop_string is not None:
                plain.reach(len(plain.text) + len(event.stop_string))
                plain.text_end = SETTLED if plain.text else BEGINNING
            assert event.generated_tokens == plain.written_by_head
        if running:
            if isinstance(operation, Generate):
                assert event.offset == len(plain.text)
            if isinstance(operation, Generate | Append | Accept):
                plain.completions = None
            plain.written_by_head = 0
        else:
            assert event.offset == len(plain.text)

    def check_completed(self, plain: PlainSession, event: Completed) -> None:
        complete = plain.operations[0]
        assert isinstance(complete, Complete)
        assert event.offset == len(plain.text)
        text = tuple(plain.text)
        for completion in event.completions:
            assert completion.log_probability == log_probability(text, completion.tokens)
        if event.partial:
            assert complete.partial_results
            return
        expected = beam_search(complete, lambda tokens: likeliest_after((*text, *tokens)))
        assert event.completions == expected
        plain.completions = event.completions
        plain.operations.pop(0)

    def check_rejected(self, plain: PlainSession, event: Rejected) -> None:
        before = [o for o in plain.operations if (o.id or 0) < event.operation_id]
        operation = plain.take(event.operation_id)
        if any(isinstance(other, Close) for other in before):
            assert isinstance(event.error, FailedPrecondition)
            return
        match operation:
            case Rewind() if isinstance(event.error, OutOfRange):
                assert not plain.may_rewind(operation)
            case Append() | Score() if isinstance(event.error, FailedPrecondition | OutOfRange):
                assert not plain.may_read_again(operation)
            case Accept() if isinstance(event.error, FailedPrecondition):
                assert plain.completions is None
            case Accept() if isinstance(event.error, NotFound):
                assert plain.completions is not None
                assert operation.index >= len(plain.completions)
            case Accept() if isinstance(event.error, OutOfRange):
                assert plain.completions is not None
                assert operation.tokens > len(plain.completions[operation.index].tokens)
            case Generate() | Complete() | Classify() if isinstance(
                event.error, FailedPrecondition
            ):
                assert not plain.text
            case _:
                assert isinstance(event.error, ResourceExhausted)

    def check_copy(self, session_id: str, new_id: str, seed: int) -> None:
        """Check that a copy has the original's text, and what a running append has added to it."""
        original, copy = self.plain[session_id], self.plain[new_id]
        description = self.engine.describe(new_id)
        text = description.tail
        assert text in original.possible_texts()
        copy.seed, copy.floor, copy.closed = seed, original.floor, False
        copy.granted = LIMITS.read_ahead_tokens
        copy.text = []
        copy.grow(*text)
        copy.text_end = description.text_end
        if text == tuple(original.text):
            assert copy.text_end in {original.text_end, SETTLED}
        else:
            assert copy.text_end == SETTLED
        # The rewind floor follows the original's length, tokens held back included.
        if original_session := self.engine._sessions.get(session_id):
            copy.reach(len(original_session.state_history))
