"""From the core's events to the contract's messages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from cellwire.server.engine.stats import Description
from cellwire.server.host.registry import ServedModel
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.rpc.models import model_message
from cellwire.server.rpc.status import status_of
from cellwire.server.session.events import (
    Answer,
    Appended,
    Attached,
    Cancelled,
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
    TopTokens,
    Written,
)
from cellwire.server.session.operations import Generate
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.sessions_pb2 import Session

_REASONS = {
    FinishReason.MAX_TOKENS: operations_pb2.FINISH_REASON_MAX_TOKENS,
    FinishReason.CANCELLED: operations_pb2.FINISH_REASON_CANCELLED,
    FinishReason.STOP: operations_pb2.FINISH_REASON_STOP,
    FinishReason.SUPERSEDED: operations_pb2.FINISH_REASON_SUPERSEDED,
}

_MOST_NATS = 709.0  # e to the power of more is not a double


def coalesced(events: Sequence[Event]) -> Iterator[Event | list[Written]]:
    """Put what one operation wrote in a row together."""

    def writer(event: Event) -> Generate | None:
        return event.operation if isinstance(event, Written) else None

    for operation, group in groupby(events, key=writer):
        if operation is None:
            yield from group
        else:
            yield [event for event in group if isinstance(event, Written)]


class Writer:
    """Writes the messages of one stream.

    Text of bytes is written in whole characters: what begins one waits for the rest.
    """

    def __init__(self, model: ServedModel) -> None:
        self._model = model
        self._vocabulary = model.vocabulary
        self._operation: Generate | None = None  # that wrote last; None goes on for anybody
        self._end = 0  # of the text that has come by
        self._waiting: tuple[int, ...] = ()  # tokens before `_end` that have not been written
        self._details: list[tuple[float, TopTokens]] = []  # of the last of them, if asked for

    def chunk(self, written: Sequence[Written]) -> operations_pb2.Chunk | None:
        """Return what one operation wrote in a row; None if that is not a whole character yet."""
        first, operation = written[0], written[0].operation
        if first.offset != self._end or self._operation not in {None, operation}:
            self._begin_after(first.offset, first.before)
        self._operation = operation
        for event in written:
            if operation.log_probabilities or operation.alternatives:
                ranked = event.alternatives or ((),) * len(event.tokens)
                self._details += zip(event.log_probabilities, ranked, strict=True)
        chunk = self._text_chunk([token for event in written for token in event.tokens])
        whole = max(0, len(self._details) - len(self._waiting))
        if chunk is not None and whole:
            log_probabilities, ranked = zip(*self._details[:whole], strict=True)
            del self._details[:whole]
            if operation.log_probabilities:
                chunk.log_probabilities.extend(log_probabilities)
            if operation.alternatives:
                chunk.alternatives.extend(map(self._alternatives, ranked))
        return chunk

    def missed(self, event: Attached) -> operations_pb2.Chunk | None:
        """Return the text a client has missed; None if there is none."""
        self._operation = None
        self._begin_after(event.offset, () if event.tokens else event.before)
        return self._text_chunk(event.tokens)

    def _begin_after(self, offset: int, before: tuple[int, ...]) -> None:
        """Expect the text that begins at `offset`; the last tokens before it may be incomplete."""
        _, incomplete = self._vocabulary.text(before)
        self._end = offset
        self._waiting = before[len(before) - incomplete :]
        self._details = []

    def _text_chunk(self, tokens: Sequence[int]) -> operations_pb2.Chunk | None:
        waiting = (*self._waiting, *tokens)
        text, incomplete = self._vocabulary.text(waiting)
        start = self._end - len(self._waiting)
        self._end += len(tokens)
        self._waiting = waiting[len(waiting) - incomplete :]
        if not text:
            return None
        return operations_pb2.Chunk(offset=start, text=text, end_offset=self._end - incomplete)

    def _alternatives(self, ranked: TopTokens) -> operations_pb2.Alternatives:
        return operations_pb2.Alternatives(
            alternatives=[
                operations_pb2.Alternative(
                    symbol=self._vocabulary.symbol(token), log_probability=log_probability
                )
                for token, log_probability in ranked
            ]
        )

    def answer(self, event: Answer) -> StreamSessionResponse:  # noqa: C901  # one case an event
        """Return the last answer to an operation, or a complete's results so far."""
        response = StreamSessionResponse(operation_id=event.operation_id or 0)
        match event:
            case Appended():
                response.appended.offset = event.offset
                response.appended.log_probability = event.log_probability
            case Finished():
                response.finished.CopyFrom(self.finished(event))
            case Completed(partial=True):
                response.completing.CopyFrom(self.completed(event))
            case Completed():
                response.completed.CopyFrom(self.completed(event))
            case Rewound():
                response.rewound.offset = event.offset
            case Forked():
                response.forked.CopyFrom(forked_message(event))
            case Scored():
                response.scored.CopyFrom(scored_message(event))
            case Classified():
                response.classified.CopyFrom(self.classified(event))
            case Rejected():
                response.rejected.status.CopyFrom(status_of(event.error))
            case Cancelled():
                response.cancelled.SetInParent()
            case Closed() | Detached():
                response.closed.SetInParent()
        return response

    def finished(self, event: Finished) -> operations_pb2.Finished:
        """Return the end of an operation."""
        return operations_pb2.Finished(
            reason=_REASONS[event.reason],
            offset=event.offset,
            usage=operations_pb2.Usage(
                appended_tokens=event.appended_tokens, generated_tokens=event.generated_tokens
            ),
            stop_string=""
            if event.stop_string is None
            else self._vocabulary.text(event.stop_string)[0],
        )

    def completed(self, event: Completed) -> operations_pb2.Completed:
        """Return the continuations that were found."""
        return operations_pb2.Completed(
            offset=event.offset,
            completions=[
                operations_pb2.Completion(
                    text=self._vocabulary.text(completion.tokens)[0],
                    log_probability=completion.log_probability,
                    token_count=len(completion.tokens),
                    ended=completion.ended,
                )
                for completion in event.completions
            ],
        )

    def classified(self, event: Classified) -> operations_pb2.Classified:
        """Return the labels' scores."""
        return operations_pb2.Classified(
            offset=event.offset,
            scores=[
                operations_pb2.LabelScore(label=label, score=score)
                for label, score in zip(self._model.cell.labels, event.scores, strict=True)
            ],
        )


def opened_message(session: SessionHandle) -> operations_pb2.Opened:
    """Return a new session."""
    return operations_pb2.Opened(
        session_id=session.id, model=model_message(session.model), seed=session.seed
    )


def attached_message(
    session: SessionHandle, event: Attached, missed: operations_pb2.Chunk | None
) -> operations_pb2.Attached:
    """Return a session that a client has attached to, with the text it has missed."""
    return operations_pb2.Attached(
        session_id=session.id,
        model=model_message(session.model),
        seed=session.seed,
        offset=event.offset + len(event.tokens),
        operation_ids=event.operation_ids,
        missed=missed,
    )


def session_message(session: SessionHandle, description: Description) -> Session:
    """Return a session's position and activity."""
    tail, _ = session.model.vocabulary.text(description.tail)
    return Session(
        session_id=session.id,
        model=session.model.name,
        seed=session.seed,
        offset=description.offset,
        tail=tail,
        attached=session.attachment is not None,
        operation_ids=description.operation_ids,
    )


def forked_message(event: Forked) -> operations_pb2.Forked:
    """Return the new session."""
    return operations_pb2.Forked(
        session_id=event.new_session_id, seed=event.seed, offset=event.offset
    )


def scored_message(event: Scored) -> operations_pb2.Scored:
    """Return how likely a text is."""
    nats = -event.log_probability / event.scored_tokens if event.scored_tokens else 0.0
    return operations_pb2.Scored(
        log_probability=event.log_probability,
        scored_tokens=event.scored_tokens,
        bits_per_token=nats / math.log(2),
        # Beyond what a double holds, infinity is the honest answer.
        perplexity=math.exp(nats) if nats < _MOST_NATS else math.inf,
        log_probabilities=event.log_probabilities,
    )
