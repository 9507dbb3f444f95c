"""A client of one durable session, which repeats what was lost with an engine."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from cellwire.model_file.vocabulary import BEGINNING, SETTLED
from cellwire.server.session.events import (
    Appended,
    Checkpointed,
    CheckpointRestored,
    Discarded,
    Finished,
    FinishReason,
    Rejected,
    Rewound,
    Written,
)
from cellwire.server.session.operations import Accept, Append, Complete, Generate, Operation
from cellwire.server.state.change import DoneOperation

Answer = Appended | Finished | Rejected | Rewound | Checkpointed | CheckpointRestored | Discarded


@dataclass
class Request:
    """An operation that the client has sent, and what it has heard of it."""

    operation: Operation
    complete: Complete | None = None  # that an accept takes from
    start: int | None = None  # the offset of the first token that it generated
    generated: list[tuple[int, float]] = field(default_factory=list)  # with log-probabilities
    answer: Answer | None = None  # the first
    # What an engine that never stopped has said and had after it.
    log_probability: float | None = None
    text_after: list[int] | None = None

    @property
    def id(self) -> int:
        assert self.operation.id is not None
        return self.operation.id

    def take(self, event: Written) -> None:
        """Take generated tokens: new ones, or such as are known from before a crash."""
        self.start = event.offset if self.start is None else self.start
        position = event.offset - self.start
        assert 0 <= position <= len(self.generated), "some of the text is missing"
        for index, pair in enumerate(zip(event.tokens, event.log_probabilities, strict=True)):
            if position + index < len(self.generated):
                assert self.generated[position + index] == pair, "the text is another one"
            else:
                self.generated.append(pair)

    def effective(self, answer: Answer) -> Operation | None:
        """Return an operation that does, uncancelled, what this one has done; None: nothing."""
        operation = self.operation
        if not isinstance(answer, Finished) or answer.reason is not FinishReason.CANCELLED:
            return operation
        match operation:
            case Generate():
                count = 0 if self.start is None else answer.offset - self.start
                del self.generated[max(0, count) :]
                return replace(operation, max_tokens=count) if self.generated else None
            case Append() if answer.replaced or answer.appended_tokens:
                tokens = operation.tokens[: operation.kept + answer.appended_tokens]
                end = SETTLED if answer.offset else BEGINNING
                return replace(operation, tokens=tokens, text_end=end)
            case Accept() if answer.appended_tokens:
                return replace(operation, tokens=answer.appended_tokens)
            case _:
                return None

    def rest(self, start: int = 0, sampled: int = 0) -> Operation | None:
        """Return what is left to do of it, when `sampled` tokens were generated from `start` on."""
        left = self.operation if self.answer is None else self.effective(self.answer)
        if isinstance(left, Generate) and sampled:
            left = replace(left, start_offset=start) if sampled < left.max_tokens else None
        return left


class DurableClient:
    """Sends requests in their order, and again those that were not done.

    An accept is sent when its complete is answered: it would end the complete otherwise.
    """

    def __init__(self, base: int = 0) -> None:
        """Begin with a text of `base` tokens."""
        self.base = base
        self.alive = True
        self.requests: dict[int, Request] = {}
        self.children: dict[int, str] = {}  # by the fork
        self.to_send: list[Operation] = []
        self.awaited: int | None = None  # the complete

    def add(self, operation: Operation, complete: Complete | None = None) -> None:
        request = Request(operation, complete)
        self.requests[request.id] = request
        self.to_send += [operation] if complete is None else [complete, operation]

    def next_to_send(self) -> Operation | None:
        if not self.to_send or self.awaited is not None:
            return None
        operation = self.to_send.pop(0)
        if isinstance(operation, Complete):
            self.awaited = operation.id
        return operation

    @property
    def busy(self) -> bool:
        return bool(self.to_send or self.unanswered) or self.awaited is not None

    @property
    def unanswered(self) -> list[Request]:
        return [r for r in self.requests.values() if r.answer is None]

    def send_again(
        self, length: int, done: Sequence[DoneOperation], sessions: Collection[str | None]
    ) -> None:
        """Send what a session has not done that has come back with a text of `length` tokens."""
        self.to_send, self.awaited = [], None
        carried_out = {d.operation_id: d for d in done}
        partly: int | None = None  # how much of the first request that is not done was done
        for number, request in self.requests.items():
            if number in carried_out:
                self._check(request, carried_out[number])
            elif self.children.get(number) not in sessions and request.rest() is not None:
                if partly is None:
                    before = [d.offset for d in done if d.operation_id < number]
                    start = before[-1] if before else self.base
                    partly = length - start
                    rest = request.rest(start, partly)
                else:
                    rest = request.rest()
                if rest is not None:
                    self.to_send += [request.complete] if request.complete else []
                    self.to_send.append(rest)

    def _check(self, request: Request, done: DoneOperation) -> None:
        """Check that an operation is remembered with its answer."""
        if request.text_after is not None:
            assert done.offset == len(request.text_after)
        if request.log_probability is not None and isinstance(request.answer, Appended):
            assert done.log_probability == request.log_probability
