"""Operations, from the contract's messages."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from google.protobuf.message import Message

from cellwire.model_file import errors as model_file
from cellwire.model_file.vocabulary import SETTLED, Reading, TextEnd, Unknown
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.batch.limits import (
    DEFAULT_BEAM_WIDTH,
    DEFAULT_COMPLETE_TOKENS,
    DEFAULT_REPETITION_WINDOW,
    MAX_APPEND_TOKENS,
)
from cellwire.server.batch.sampling import Sampling, check_biases
from cellwire.server.errors import FailedPrecondition, InvalidArgument, UnknownSymbol
from cellwire.server.host.registry import ServedModel
from cellwire.server.host.settings import Settings
from cellwire.server.host.text_ends import TextEnds
from cellwire.server.rpc.reading_moves import (
    read_checkpoint,
    read_discard,
    read_fork,
    read_restore,
    read_rewind,
    read_save,
)
from cellwire.server.rpc.reading_symbols import read_bias, read_stops
from cellwire.server.session.operations import (
    Accept,
    Append,
    Classify,
    Close,
    Complete,
    Generate,
    Operation,
    Score,
)
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest

_LONG_MESSAGE_BYTES = 10_000

M = TypeVar("M", bound=Message)
T = TypeVar("T")


async def read(reader: Callable[[M], T], message: M) -> T:
    """Return what a Reader's method returns for a message.

    A long message is read in another thread, so that other streams do not wait for it.
    """
    if message.ByteSize() > _LONG_MESSAGE_BYTES:
        return await asyncio.to_thread(reader, message)
    return reader(message)


class Reader:
    """Reads the operations of one session; every method raises CellwireError for a bad message."""

    def __init__(
        self, model: ServedModel, settings: Settings, text_ends: TextEnds | None = None
    ) -> None:
        """`text_ends` are those of the session; without them, every text is a whole one."""
        self._model = model
        self._ends = text_ends or TextEnds()
        self._vocabulary = model.vocabulary
        self._settings = settings
        self._readers: dict[str, Callable[[int, Any], Operation]] = {
            "append": self.append,
            "generate": self.generate,
            "complete": self.complete,
            "accept": lambda i, message: Accept(i, message.index, message.tokens),
            "rewind": read_rewind,
            "fork": lambda i, message: read_fork(i, message, settings),
            "score": self.score,
            "classify": lambda i, _: self.classify(i),
            "save": lambda i, _: read_save(i, settings),
            "checkpoint": lambda i, message: read_checkpoint(i, message, settings),
            "restore": lambda i, message: read_restore(i, message, settings),
            "discard": lambda i, message: read_discard(i, message, settings),
            "close": lambda i, message: Close(i, message.keep),
        }

    def operation(self, request: StreamSessionRequest) -> Operation:
        """Return the operation in a message; open, attach and cancel are none for a session."""
        name = request.WhichOneof("operation")
        if name in {"open", "attach"}:
            raise InvalidArgument("open or attach comes first, and once; this stream has one")
        read = self._readers.get(name or "")
        if read is None:
            known = ", ".join((*self._readers, "cancel"))
            raise InvalidArgument(
                f"the message holds no operation this daemon knows; it knows {known}"
            )
        return read(request.operation_id, getattr(request, name or ""))

    def append(self, operation_id: int, message: operations_pb2.Append) -> Append:
        """Return an append."""
        reading, reread = self._read(message, "append")
        return Append(operation_id, reading.tokens, reread, reading.end)

    def score(self, operation_id: int, message: operations_pb2.Score) -> Score:
        """Return a score."""
        self._check_generates()
        reading, reread = self._read(message, "score")
        return Score(operation_id, reading.tokens, message.log_probabilities, reread)

    def _read(
        self, message: operations_pb2.Append | operations_pb2.Score, name: str
    ) -> tuple[Reading, tuple[int, ...]]:
        """Return what is read, and the last tokens of the text, whose place that takes."""
        content = message.data or message.text
        if not content:
            raise InvalidArgument(
                f"the text to {name} is empty; send one character at least", field="text"
            )
        _check_length(len(content), "bytes" if message.data else "characters", name)
        end = SETTLED if message.data else self._ends.text_end
        reading = self._reading(content, end)
        if name == "score":  # nothing follows
            self._check_end(reading.end)
        added = len(reading.tokens) - len(end.tokens)
        _check_length(added, "tokens", name)  # a character may be several of them
        return reading, end.tokens

    def _reading(self, content: str | bytes, end: TextEnd) -> Reading:
        try:
            if isinstance(content, bytes):
                return Reading(self._vocabulary.encode_bytes(content), SETTLED)
            return self._vocabulary.read(content, self._settings.unknown_symbols, end)
        except model_file.UnknownSymbol as error:
            raise UnknownSymbol(error) from error
        except model_file.TextError as error:
            raise InvalidArgument(str(error), field="text") from error

    def generate(self, operation_id: int, message: operations_pb2.Generate) -> Generate:
        """Return a generate."""
        self._check_generates()
        self._check_end(self._ends.text_end)
        stops = read_stops(message.stop_strings, self._vocabulary, self._settings)
        return Generate(
            operation_id,
            message.max_tokens,
            self._sampling(message.sampling),
            message.log_probabilities,
            message.top_alternatives,
            tuple(stops),
            tuple(stops.values()),
            self._after_blank,
            message.start_offset if message.HasField("start_offset") else None,
        )

    @property
    def _after_blank(self) -> bool:
        return self._vocabulary.waiting_blank(self._ends.text_end)

    def _sampling(self, message: operations_pb2.Sampling) -> Sampling:
        check_biases(len(message.logit_bias))
        self._check_top_k(message.top_k)
        penalised = message.HasField("repetition_penalty")
        return Sampling(
            temperature=message.temperature if message.HasField("temperature") else 1.0,
            top_k=message.top_k,
            top_p=message.top_p if message.HasField("top_p") else 1.0,
            min_p=message.min_p,
            repetition_penalty=message.repetition_penalty if penalised else 1.0,
            repetition_window=message.repetition_window or DEFAULT_REPETITION_WINDOW,
            logit_bias=tuple(read_bias(bias, self._vocabulary) for bias in message.logit_bias),
            seed=message.seed if message.HasField("seed") else None,
        )

    def _check_top_k(self, top_k: int) -> None:
        """Raise InvalidArgument for more tokens than the model's device ranks quickly."""
        most = self._model.max_top_k
        if most is not None and top_k > most:
            raise InvalidArgument(
                f"top_k is {top_k:,}; on a card it must be at most {most:,}, or 0, which draws "
                f"from all {len(self._vocabulary):,} symbols",
                field="sampling.top_k",
            )

    def complete(self, operation_id: int, message: operations_pb2.Complete) -> Complete:
        """Return a complete."""
        self._check_generates()
        self._check_end(self._ends.text_end)
        return Complete(
            operation_id,
            beam_width=message.beam_width or DEFAULT_BEAM_WIDTH,
            completion_count=message.completion_count or 1,
            max_tokens=message.max_tokens or DEFAULT_COMPLETE_TOKENS,
            length_penalty=message.length_penalty,
            end=self._end(message.end),
            partial_results=message.partial_results,
            after_blank=self._after_blank,
        )

    def _end(self, end: int) -> CompletionEnd:
        vocabulary = self._vocabulary
        match end:
            case operations_pb2.COMPLETION_END_UNSPECIFIED | operations_pb2.COMPLETION_END_LENGTH:
                return CompletionEnd()
            case operations_pb2.COMPLETION_END_WORD:
                return CompletionEnd(*vocabulary.word_end)
            case operations_pb2.COMPLETION_END_LINE:
                return CompletionEnd(vocabulary.line_feeds)
            case _:
                known = ", ".join(map(str, operations_pb2.CompletionEnd.values()))
                raise InvalidArgument(
                    f"end {end} is not known to this daemon; it knows {known}", field="end"
                )

    def classify(self, operation_id: int) -> Classify:
        """Return a classify."""
        if not self._model.cell.labels:
            raise FailedPrecondition(
                f"the model {self._model.name!r} has no labels to classify with; "
                "use another model, or generate, complete or score"
            )
        self._check_end(self._ends.text_end)
        return Classify(operation_id)

    def _check_end(self, end: TextEnd) -> None:
        """Raise InvalidArgument if the model does not know the end of the text as it is."""
        if self._settings.unknown_symbols is Unknown.REJECT and end.text:
            try:
                self._vocabulary.check_end(end)
            except model_file.UnknownSymbol as error:
                raise UnknownSymbol(error) from error

    def _check_generates(self) -> None:
        if not self._model.cell.generates:
            raise FailedPrecondition(
                f"the model {self._model.name!r} only classifies; it cannot write: "
                "use classify, or another model"
            )


def _check_length(length: int, unit: str, name: str) -> None:
    if length > MAX_APPEND_TOKENS:
        raise InvalidArgument(
            f"the text to {name} has {length:,} {unit}, and {MAX_APPEND_TOKENS:,} is the most; "
            "send it in pieces",
            field="text",
        )
