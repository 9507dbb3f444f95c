"""What the fake daemon's model knows: the alphabet.

It goes on from a text's last letter: after `c` come `d`, `e`, ... and after `z` comes `a`. It knows
the letters a to z and the space. Every symbol has log-probability -0.5.
"""

from __future__ import annotations

from collections.abc import Iterator
from string import ascii_lowercase

import grpc

from cellwire.v1 import models_pb2, operations_pb2
from cellwire.v1.operations_pb2 import (
    Accept,
    Alternative,
    Alternatives,
    Append,
    Appended,
    Chunk,
    Classified,
    Complete,
    Completed,
    Completion,
    Finished,
    Forked,
    Generate,
    LabelScore,
    Open,
    Opened,
    Rewind,
    Rewound,
    Score,
    Scored,
    Usage,
)

ALPHABET = models_pb2.Model(
    name="alphabet",
    cell="lstm",
    layers=2,
    hidden=26,
    vocabulary=models_pb2.Vocabulary(
        characters=models_pb2.Characters(symbols=[*ascii_lowercase, " "])
    ),
    state_bytes=416,
    provider="CPUExecutionProvider",
    training=models_pb2.Training(corpus="primer", steps=3, validation_bits_per_character=0.125),
    writes=True,
)
UNTRAINED = models_pb2.Model(
    name="untrained",
    cell="gru",
    layers=1,
    hidden=4,
    vocabulary=models_pb2.Vocabulary(bytes=models_pb2.Bytes()),
    provider="Other",
    labels=["good", "bad"],
)
WORDS = models_pb2.Model(
    name="words",
    vocabulary=models_pb2.Vocabulary(words=models_pb2.Words(symbols=[*ascii_lowercase, " "])),
    writes=True,
)
REMEMBERED = 65_536


def letters(after: str, count: int) -> str:
    """Return what the alphabet's model writes."""
    start = ascii_lowercase.find(after) + 1
    return (ascii_lowercase * (count // 26 + 2))[start : start + count]


class Refused(Exception):  # a word of the contract
    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(message)
        self.code = code


class FakeText:
    """A session's text, and what the operations do to it; a symbol is a byte."""

    def __init__(self, opened: Open) -> None:
        models = {"": ALPHABET} | {model.name: model for model in (ALPHABET, UNTRAINED, WORDS)}
        if opened.model not in models:
            raise Refused(grpc.StatusCode.NOT_FOUND, f"no model is called {opened.model!r}")
        self.model = models[opened.model]
        self.opened = opened
        self.data = b""
        self.written = 0
        self._furthest = 0
        self._found: tuple[int, list[Completion]] | None = None

    def copy(self) -> FakeText:
        copy = FakeText(self.opened)
        copy.data = self.data
        return copy

    def append(self, message: Append) -> Appended:
        added = message.data or self._read(message.text).encode()
        self.data += added
        return Appended(offset=len(self.data), log_probability=-0.5 * len(added))

    def plan(self, message: Generate) -> str:
        """Return what a generation writes if nothing ends it before."""
        self._need_text()
        text = letters(chr(self.data[-1]), message.max_chars)
        self.written = 0
        self._planned_end = Finished(reason=operations_pb2.FINISH_REASON_MAX_CHARS)
        if stops := [stop for stop in message.stop if stop in text]:
            stop = min(stops, key=text.index)
            self._planned_end = Finished(reason=operations_pb2.FINISH_REASON_STOP, stop=stop)
            text = text[: text.index(stop)]
        return text

    def write(self, piece: str, message: Generate) -> Chunk:
        chunk = self.chunk(len(self.data), piece)
        if message.log_probabilities:
            chunk.log_probabilities.extend([-0.5] * len(piece))
        for symbol in piece if message.top_alternatives else "":
            likely = [
                Alternative(symbol=letter, log_probability=-0.5 - rank)
                for rank, letter in enumerate([symbol, letters(symbol, 1)])
            ]
            chunk.alternatives.append(Alternatives(alternatives=likely[: message.top_alternatives]))
        self.data += piece.encode()
        self.written += len(piece)
        return chunk

    def chunk(self, offset: int, piece: str) -> Chunk:
        return Chunk(offset=offset, text=piece, end_offset=offset + len(piece))

    def end(self, finished: Finished | None = None) -> Finished:
        """Return how an operation has ended: as planned, or otherwise."""
        finished = finished or self._planned_end
        finished.offset = len(self.data)
        finished.usage.CopyFrom(Usage(generated_chars=self.written))
        return finished

    def search(self, message: Complete, scripted: list[str]) -> Iterator[Completed]:
        """Yield the best so far, a symbol longer each time; those at the end are final."""
        self._need_text()
        length = message.max_chars or 32
        texts = scripted or [
            letters(chr(self.data[-1] + rank), length) for rank in range(message.completions or 1)
        ]
        completions: list[Completion] = []
        for chars in range(1, max(map(len, texts)) + 1):
            completions = [
                Completion(
                    text=text[:chars],
                    log_probability=-0.5 * len(text[:chars]) - rank,
                    chars=len(text[:chars]),
                    ended=text.endswith(" ") and chars >= len(text),
                )
                for rank, text in enumerate(texts)
            ]
            yield Completed(offset=len(self.data), completions=completions)
        self._found = (len(self.data), completions)

    def accept(self, message: Accept) -> Appended:
        if self._found is None or self._found[0] != len(self.data):
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "the session has moved")
        if message.index >= len(self._found[1]):
            raise Refused(grpc.StatusCode.NOT_FOUND, "there is no such completion")
        text = self._found[1][message.index].text
        return self.append(Append(text=text[: message.chars or None]))

    def rewind(self, message: Rewind) -> Rewound:
        to = message.offset if message.HasField("offset") else len(self.data) - message.chars
        window = self.opened.rewind_window if self.opened.HasField("rewind_window") else 64
        self._furthest = max(self._furthest, len(self.data))
        back = min(window - self._furthest + len(self.data), len(self.data))
        if not len(self.data) - back <= to <= len(self.data):
            reason = f"the session can go back {back} characters"
            raise Refused(grpc.StatusCode.OUT_OF_RANGE, reason)
        self.data = self.data[:to]
        return Rewound(offset=to)

    def score(self, message: Score) -> Scored:
        count = len(message.data or self._read(message.text))
        scored = count if self.data else max(count - 1, 0)
        each = [-0.5] * count if message.log_probabilities else []
        return Scored(
            log_probability=-0.5 * scored,
            scored_chars=scored,
            bits_per_character=0.75,
            perplexity=1.5,
            log_probabilities=each,
        )

    def classify(self) -> Classified:
        self._need_text()
        if not self.model.labels:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "the model has no labels")
        scores = [LabelScore(label="good", score=0.75), LabelScore(label="bad", score=0.25)]
        return Classified(offset=len(self.data), scores=scores)

    def seed(self) -> int:
        return self.opened.seed if self.opened.HasField("seed") else 42

    def opening(self, session_id: str) -> Opened:
        return Opened(session_id=session_id, model=self.model, seed=self.seed())

    def forking(self, session_id: str, seed: int | None) -> Forked:
        """Become the session that a fork makes."""
        self.opened.seed = 43 if seed is None else seed
        return Forked(session_id=session_id, seed=self.opened.seed, offset=len(self.data))

    def since(self, offset: int | None) -> str:
        """Return the text that somebody who attaches has missed."""
        if offset is None:
            return ""
        if not len(self.data) - REMEMBERED <= offset <= len(self.data):
            reason = f"the session's text ends at {len(self.data)}"
            raise Refused(grpc.StatusCode.OUT_OF_RANGE, reason)
        return self.data[offset:].decode()

    def _read(self, text: str) -> str:
        if self.model is UNTRAINED:
            return text
        known = ALPHABET.vocabulary.characters.symbols
        if self.opened.unknown_symbols == operations_pb2.UNKNOWN_SYMBOLS_SKIP:
            return "".join(symbol for symbol in text if symbol in known)
        for offset, symbol in enumerate(text):
            if symbol not in known:
                reason = f"the model does not know {symbol!r} (offset {offset})"
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, reason)
        return text

    def _need_text(self) -> None:
        if not self.data:
            raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "the session has no text yet")
