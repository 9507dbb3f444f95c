"""A session's text in the fake daemon, and what the operations do to it.

The models continue a text with the alphabet: after `c` come `d`, `e`, ... and after `z` comes `a`.
They know the letters a to z and the space; `judge` reads any bytes, and only classifies.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise

import grpc
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo
from tests.client.fake.models import (
    LABELS,
    SCORES,
    SYMBOLS,
    basic,
    letters,
    log_probability,
)
from tests.client.fake.refused import Refused

from cellwire.v1 import models_pb2, operations_pb2
from cellwire.v1.operations_pb2 import (
    Accept,
    Alternative,
    Alternatives,
    Append,
    Appended,
    Checkpoint,
    Checkpointed,
    Chunk,
    Classified,
    Complete,
    Completed,
    Completion,
    Discard,
    Discarded,
    Finished,
    Forked,
    Generate,
    LabelScore,
    Open,
    Opened,
    Restore,
    Restored,
    Rewind,
    Rewound,
    SafePoint,
    Score,
    Scored,
    Usage,
)
from cellwire.v1.sessions_pb2 import NamedCheckpoint

KEPT = 65_536
_DRAWN_SEED = 42
_FORKED_SEED = 43


class FakeText:
    """A token is a byte, and for the models that generate, a character."""

    def __init__(self, opened: Open, models: Sequence[models_pb2.Model]) -> None:
        named = {"": models[0]} | {model.name: model for model in models}
        if opened.model not in named:
            raise Refused(
                grpc.StatusCode.NOT_FOUND,
                f"no model is named {opened.model!r}; this daemon serves: "
                f"{', '.join(model.name for model in models)}",
            )
        self.model = named[opened.model]
        self.opened = opened
        self.data = b""
        self.revision = 0
        self.generated = 0
        self._furthest = 0
        self._kept: dict[str, bytes] = {}
        self._found: list[Completion] | None = None

    def copy(self) -> FakeText:
        opened = Open()
        opened.CopyFrom(self.opened)
        copy = FakeText(opened, [self.model])
        copy.data = self.data
        copy.revision = self.revision
        return copy

    def append(self, message: Append) -> Appended:
        added = message.data or self._read(message.text).encode()
        if not added:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "the text to append is empty")
        total = sum(self._log_probabilities(added))
        self._replace(self.data + added)
        return Appended(offset=len(self.data), log_probability=total)

    def plan(self, message: Generate) -> str:
        """Return the text of a generation that nothing ends early."""
        self._must_generate()
        self._must_have_text()
        begin = message.start_offset if message.HasField("start_offset") else len(self.data)
        text = letters(chr(self.data[begin - 1]), message.max_tokens)
        self.generated = len(self.data) - begin
        self._planned_end = Finished(reason=operations_pb2.FINISH_REASON_MAX_TOKENS)
        if found := [stop for stop in message.stop_strings if stop in text]:
            stop = min(found, key=text.index)
            self._planned_end = Finished(reason=operations_pb2.FINISH_REASON_STOP, stop_string=stop)
            text = text[: text.index(stop)]
        return text

    def write(self, piece: str, message: Generate) -> Chunk:
        chunk = self.chunk(len(self.data), piece)
        before = chr(self.data[-1])
        for symbol in piece:
            if message.log_probabilities:
                chunk.log_probabilities.append(log_probability(before, symbol))
            if message.top_alternatives:
                ranked = letters(before, message.top_alternatives)
                likely = [
                    Alternative(symbol=one, log_probability=log_probability(before, one))
                    for one in ranked
                ]
                chunk.alternatives.append(Alternatives(alternatives=likely))
            before = symbol
        self._replace(self.data + piece.encode())
        self.generated += len(piece)
        return chunk

    def chunk(self, offset: int, piece: str) -> Chunk:
        return Chunk(offset=offset, text=piece, end_offset=offset + len(piece))

    def end(self, finished: Finished | None = None) -> Finished:
        """Return how an operation has ended: as planned, or otherwise."""
        finished = finished or self._planned_end
        finished.offset = len(self.data)
        finished.usage.CopyFrom(Usage(generated_tokens=self.generated))
        return finished

    def search(self, message: Complete, scripted: list[str]) -> Iterator[Completed]:
        """Yield the best so far, a token longer each time; those at the end are final."""
        self._must_generate()
        self._must_have_text()
        before = chr(self.data[-1])
        count, length = message.completion_count or 1, message.max_tokens or 32
        firsts = letters(before, count)
        texts = scripted or [first + letters(first, length - 1) for first in firsts]
        for reached in range(1, max(map(len, texts)) + 1):
            found = [
                Completion(
                    text=text[:reached],
                    log_probability=-0.5 * reached
                    if scripted
                    else log_probability(before, text[0]),
                    token_count=len(text[:reached]),
                    ended=_ended(message, text[:reached]),
                )
                for text in texts[:count]
            ]
            yield Completed(offset=len(self.data), completions=found)
        self._found = found

    def accept(self, message: Accept) -> Appended:
        if self._found is None:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                "the text as it is now has no completions; complete it first",
            )
        if message.index >= len(self._found):
            raise Refused(grpc.StatusCode.NOT_FOUND, f"there is no completion {message.index}")
        text = self._found[message.index].text
        if message.tokens > len(text):
            raise Refused(
                grpc.StatusCode.OUT_OF_RANGE,
                f"the completion has {len(text)} tokens, not {message.tokens}",
            )
        return self.append(Append(text=text[: message.tokens or None]))

    def rewind(self, message: Rewind) -> Rewound:
        to = message.offset if message.HasField("offset") else len(self.data) - message.tokens
        window = self.opened.rewind_window if self.opened.HasField("rewind_window") else 64
        self._furthest = max(self._furthest, len(self.data))
        floor = max(self._furthest - window, 0)
        if not floor <= to <= len(self.data):
            raise Refused(
                grpc.StatusCode.OUT_OF_RANGE,
                f"the session is at offset {len(self.data)} and can be rewound to {floor} at the "
                f"earliest, not to {to}",
            )
        self._replace(self.data[:to])
        return Rewound(offset=to)

    def keep(self, message: Checkpoint) -> Checkpointed:
        self._kept[message.name] = self.data
        return Checkpointed(name=message.name, offset=len(self.data))

    def restore(self, message: Restore) -> Restored:
        self._replace(self._kept_as(message.name))
        self._furthest = len(self.data)
        return Restored(name=message.name, offset=len(self.data))

    def discard(self, message: Discard) -> Discarded:
        self._kept_as(message.name)
        del self._kept[message.name]
        return Discarded(name=message.name)

    def _kept_as(self, name: str) -> bytes:
        if name not in self._kept:
            known = ", ".join(map(repr, sorted(self._kept)))
            raise Refused(grpc.StatusCode.NOT_FOUND, f"no checkpoint {name!r}; it has {known}")
        return self._kept[name]

    @property
    def checkpoints(self) -> list[NamedCheckpoint]:
        kept = sorted(self._kept.items())
        return [NamedCheckpoint(name=name, offset=len(data)) for name, data in kept]

    def score(self, message: Score) -> Scored:
        self._must_generate()
        added = message.data or self._read(message.text, "score").encode()
        each = self._log_probabilities(added)
        scored = len(each) if self.data else len(each) - 1
        total = sum(each)
        return Scored(
            log_probability=total,
            scored_tokens=scored,
            bits_per_token=-total / scored / math.log(2) if scored else 0,
            perplexity=math.exp(-total / scored) if scored else 1,
            log_probabilities=each if message.log_probabilities else [],
        )

    def classify(self) -> Classified:
        if not self.model.labels:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the model {self.model.name!r} has no labels to classify with",
            )
        self._must_have_text()
        scores = [
            LabelScore(label=label, score=score)
            for label, score in zip(LABELS, SCORES, strict=True)
        ]
        return Classified(offset=len(self.data), scores=scores)

    def seed(self) -> int:
        return self.opened.seed if self.opened.HasField("seed") else _DRAWN_SEED

    def opening(self, session_id: str) -> Opened:
        return Opened(session_id=session_id, model=basic(self.model), seed=self.seed())

    def forking(self, session_id: str, seed: int | None) -> Forked:
        """Become the session that a fork makes."""
        self.opened.seed = _FORKED_SEED if seed is None else seed
        return Forked(session_id=session_id, seed=self.opened.seed, offset=len(self.data))

    def since(self, offset: int | None) -> str:
        """Return the text that a client that attaches has missed."""
        if offset is None:
            return ""
        if not len(self.data) - KEPT <= offset <= len(self.data):
            raise Refused(
                grpc.StatusCode.OUT_OF_RANGE, f"the session's text ends at {len(self.data)}"
            )
        return self.data[offset:].decode()

    @property
    def durable(self) -> bool:
        return self.opened.durability > operations_pb2.DURABILITY_NONE

    def safe(self) -> SafePoint:
        """All is safe at once."""
        return SafePoint(revision=self.revision, offset=len(self.data))

    def _replace(self, data: bytes) -> None:
        self.data = data
        self.revision += 1
        self._found = None

    def _log_probabilities(self, added: bytes) -> list[float]:
        """Return the log-probability of each token if it is added to the text."""
        if not self.model.generates:
            return [0.0] * len(added)
        text = (self.data + added)[-len(added) - 1 :].decode()
        each = [log_probability(*pair) for pair in pairwise(text)]
        return each if self.data else [0.0, *each]

    def _read(self, text: str, operation: str = "append") -> str:
        if not text:
            raise Refused(grpc.StatusCode.INVALID_ARGUMENT, f"the text to {operation} is empty")
        if self.model.vocabulary.HasField("bytes"):
            return text
        if self.opened.unknown_symbols == operations_pb2.UNKNOWN_SYMBOLS_SKIP:
            return "".join(symbol for symbol in text if symbol in SYMBOLS)
        for offset, symbol in enumerate(text):
            if symbol not in SYMBOLS:
                raise _unknown_symbol(symbol, offset)
        return text

    def _must_have_text(self) -> None:
        if not self.data:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                "the session has no text yet; append some first",
            )

    def _must_generate(self) -> None:
        if not self.model.generates:
            raise Refused(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"the model {self.model.name!r} only classifies; it cannot write",
            )


def _ended(message: Complete, text: str) -> bool:
    if message.end == operations_pb2.COMPLETION_END_WORD:
        return text.endswith(" ")
    return len(text) == (message.max_tokens or 32)


def _unknown_symbol(symbol: str, offset: int) -> Refused:
    reason = (
        f"the model does not know the symbol {symbol!r} (U+{ord(symbol):04X}) at offset {offset} "
        "of the text"
    )
    violation = BadRequest.FieldViolation(field="text", description=reason, reason="UNKNOWN_SYMBOL")
    info = ErrorInfo(
        reason="UNKNOWN_SYMBOL",
        domain="cellwire",
        metadata={"field": "text", "symbol": symbol, "offset": str(offset)},
    )
    return Refused(
        grpc.StatusCode.INVALID_ARGUMENT, reason, BadRequest(field_violations=[violation]), info
    )
