"""Generated text, in whole characters."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import groupby

from cellwire.model_file.vocabulary import Vocabulary
from cellwire.server.session.events import Attached, Event, TopTokens, Written
from cellwire.server.session.operations import Generate
from cellwire.v1.operations_pb2 import Alternative, Alternatives, Chunk

_Details = tuple[float, TopTokens]
_UNKNOWN: _Details = (math.nan, ())
_BLANK = " "


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

    For a model that reads bytes, the first bytes of a character wait for the rest of it, if need be
    for another operation to write that.
    """

    def __init__(self, vocabulary: Vocabulary) -> None:
        self._vocabulary = vocabulary
        self._operation: Generate | None = None  # that wrote last; None: any may continue
        self._end = 0  # the offset of the end of the text so far
        self._incomplete: tuple[int, ...] = ()  # the tokens before `_end` that wait
        self._details: list[_Details] = []  # of each of them

    def chunk(self, written: Sequence[Written]) -> Chunk | None:
        """Return what one operation wrote in a row; None if that completes no character."""
        first, operation = written[0], written[0].operation
        if first.offset != self._end or self._operation not in {None, operation}:
            self._continue_at(first.offset, first.before)
        self._operation = operation
        tokens = [token for event in written for token in event.tokens]
        chunk = self._text_chunk(tokens, after_blank=first.after_blank)
        requested = operation.log_probabilities or operation.alternatives
        if requested or self._incomplete:
            details = [*self._details, *_details_of(written)]
            complete = len(details) - len(self._incomplete)
            self._details = details[complete:]
            if chunk is not None and requested:
                self._add_details(chunk, operation, details[:complete])
        else:
            self._details = []
        return chunk

    def missed(self, event: Attached) -> Chunk | None:
        """Return the text that a client has missed; None if there is none.

        It begins with the character that was not whole at the client's offset.
        """
        self._operation = None
        self._continue_at(event.offset, event.before)
        chunk = self._text_chunk(event.tokens, after_blank=event.after_blank)
        self.forget_details()
        return chunk

    def forget_details(self) -> None:
        """Know no details of the tokens that wait: they may not be what was written."""
        self._details = [_UNKNOWN] * len(self._incomplete)

    def _continue_at(self, offset: int, before: tuple[int, ...]) -> None:
        """Expect text at `offset`; `before` are the last tokens before it."""
        _, count = self._vocabulary.text(before)
        incomplete = before[len(before) - count :]
        known = offset == self._end and incomplete == self._incomplete
        self._end, self._incomplete = offset, incomplete
        if not known:
            self.forget_details()

    def _text_chunk(self, tokens: Sequence[int], *, after_blank: bool) -> Chunk | None:
        """Return tokens as text, without its first blank if the client has that already."""
        waiting = (*self._incomplete, *tokens)
        text, incomplete = self._vocabulary.text(waiting)
        start = self._end - len(self._incomplete)
        self._end += len(tokens)
        self._incomplete = waiting[len(waiting) - incomplete :]
        if not text:
            return None
        if after_blank and text != _BLANK:
            text = text.removeprefix(_BLANK)
        return Chunk(offset=start, text=text, end_offset=self._end - incomplete)

    def _add_details(self, chunk: Chunk, operation: Generate, details: Sequence[_Details]) -> None:
        """Add what is requested of each of the chunk's tokens."""
        for log_probability, top_tokens in details:
            if operation.log_probabilities:
                chunk.log_probabilities.append(log_probability)
            if operation.alternatives:
                chunk.alternatives.append(self._alternatives(top_tokens))

    def _alternatives(self, top_tokens: TopTokens) -> Alternatives:
        return Alternatives(
            alternatives=[
                Alternative(symbol=self._vocabulary.symbol(token), log_probability=log_probability)
                for token, log_probability in top_tokens
            ]
        )


def _details_of(written: Sequence[Written]) -> Iterator[_Details]:
    """Yield the details of each token."""
    for event in written:
        top_tokens = event.alternatives or ((),) * len(event.tokens)
        yield from zip(event.log_probabilities, top_tokens, strict=True)
