"""Generated text, in whole characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from cellwire.model_file.vocabulary import Vocabulary
from cellwire.server.session.events import Attached, Event, TopTokens, Written
from cellwire.server.session.operations import Generate
from cellwire.v1.operations_pb2 import Alternative, Alternatives, Chunk


def coalesced(events: Sequence[Event]) -> Iterator[Event | list[Written]]:
    """Yield events, and what one operation wrote in a row as one list."""

    def writer(event: Event) -> Generate | None:
        return event.operation if isinstance(event, Written) else None

    for operation, group in groupby(events, key=writer):
        if operation is None:
            yield from group
        else:
            yield [event for event in group if isinstance(event, Written)]


class ChunkWriter:
    """Writes the chunks of one stream.

    For a model that reads bytes, the first bytes of a character wait for the rest of it.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._operation: Generate | None = None  # that wrote last; None: any may continue
        self._end = 0  # the offset of the end of the text so far
        self._incomplete: tuple[int, ...] = ()  # the tokens before `_end` that wait
        self._details: list[tuple[float, TopTokens]] = []  # of tokens not written yet, if requested

    def chunk(self, written: Sequence[Written]) -> Chunk | None:
        """Return what one operation wrote in a row; None if that completes no character."""
        first, operation = written[0], written[0].operation
        if first.offset != self._end or self._operation not in {None, operation}:
            self._continue_at(first.offset, first.before)
        self._operation = operation
        if operation.log_probabilities or operation.alternatives:
            for event in written:
                top_tokens = event.alternatives or ((),) * len(event.tokens)
                self._details += zip(event.log_probabilities, top_tokens, strict=True)
        chunk = self._text_chunk([token for event in written for token in event.tokens])
        if chunk is not None:
            self._add_details(chunk, operation)
        return chunk

    def missed(self, event: Attached) -> Chunk | None:
        """Return the text that a client has missed; None if there is none."""
        self._operation = None
        self._continue_at(event.offset, () if event.tokens else event.before)
        return self._text_chunk(event.tokens)

    def _continue_at(self, offset: int, before: tuple[int, ...]) -> None:
        """Expect text at `offset`; `before` are the last tokens before it."""
        _, incomplete = self._vocabulary.text(before)
        self._end = offset
        self._incomplete = before[len(before) - incomplete :]
        self._details = []

    def _text_chunk(self, tokens: Sequence[int]) -> Chunk | None:
        waiting = (*self._incomplete, *tokens)
        text, incomplete = self._vocabulary.text(waiting)
        start = self._end - len(self._incomplete)
        self._end += len(tokens)
        self._incomplete = waiting[len(waiting) - incomplete :]
        if not text:
            return None
        return Chunk(offset=start, text=text, end_offset=self._end - incomplete)

    def _add_details(self, chunk: Chunk, operation: Generate) -> None:
        """Add the details of the chunk's tokens, if requested, and keep those of the incomplete."""
        complete = max(0, len(self._details) - len(self._incomplete))
        for log_probability, top_tokens in self._details[:complete]:
            if operation.log_probabilities:
                chunk.log_probabilities.append(log_probability)
            if operation.alternatives:
                chunk.alternatives.append(self._alternatives(top_tokens))
        del self._details[:complete]

    def _alternatives(self, top_tokens: TopTokens) -> Alternatives:
        return Alternatives(
            alternatives=[
                Alternative(symbol=self._vocabulary.symbol(token), log_probability=log_probability)
                for token, log_probability in top_tokens
            ]
        )
