"""From the contract's messages to the core's operations."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from enum import Enum
from typing import Any, TypeVar

from google.protobuf.message import Message

from cellwire.model_file import errors as model_file
from cellwire.model_file.vocabulary import Tokens, Unknown
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.batch.limits import (
    DEFAULT_BEAM_WIDTH,
    DEFAULT_COMPLETE_TOKENS,
    DEFAULT_REPETITION_WINDOW,
    MAX_APPEND_TOKENS,
    MAX_REWIND_WINDOW,
)
from cellwire.server.batch.sampling import Bias, Sampling, check_biases
from cellwire.server.errors import FailedPrecondition, InvalidArgument, UnknownSymbol
from cellwire.server.host.registry import ServedModel
from cellwire.server.host.settings import OnDisconnect, Settings, new_seed, new_session_id
from cellwire.server.session.operations import (
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
    check_stop_strings,
)
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest
from cellwire.v1.sessions_pb2 import ForkSessionRequest

# Longer ones are refused unread. What is one symbol, or fits into a rewind window, may be longer as
# a text: symbols can be words.
_MAX_SYMBOL_CHARS = 1_024
_MAX_STOP_CHARS = 16 * MAX_REWIND_WINDOW

_LONG_MESSAGE_BYTES = 10_000

_UNKNOWN_SYMBOLS: dict[int, Unknown] = {
    operations_pb2.UNKNOWN_SYMBOLS_UNSPECIFIED: Unknown.REJECT,
    operations_pb2.UNKNOWN_SYMBOLS_REJECT: Unknown.REJECT,
    operations_pb2.UNKNOWN_SYMBOLS_SKIP: Unknown.SKIP,
    operations_pb2.UNKNOWN_SYMBOLS_REPLACE: Unknown.REPLACE,
}

_ON_DISCONNECT: dict[int, OnDisconnect] = {
    operations_pb2.ON_DISCONNECT_UNSPECIFIED: OnDisconnect.DELETE,
    operations_pb2.ON_DISCONNECT_DELETE: OnDisconnect.DELETE,
    operations_pb2.ON_DISCONNECT_CANCEL: OnDisconnect.CANCEL,
    operations_pb2.ON_DISCONNECT_PAUSE: OnDisconnect.PAUSE,
    operations_pb2.ON_DISCONNECT_CONTINUE: OnDisconnect.CONTINUE,
}

E = TypeVar("E", bound=Enum)
M = TypeVar("M", bound=Message)
T = TypeVar("T")


async def read(reader: Callable[[M], T], message: M) -> T:
    """Return what a Reader makes of a message.

    A long one is read in another thread, so that other streams are not held up.
    """
    if message.ByteSize() > _LONG_MESSAGE_BYTES:
        return await asyncio.to_thread(reader, message)
    return reader(message)


def read_settings(message: operations_pb2.Open) -> Settings:
    """Return the settings of an open; InvalidArgument says what is wrong with them."""
    defaults = Settings()
    timeout = message.idle_timeout
    return Settings(
        rewind_window=(
            message.rewind_window if message.HasField("rewind_window") else defaults.rewind_window
        ),
        unknown_symbols=_enum("unknown_symbols", message.unknown_symbols, _UNKNOWN_SYMBOLS),
        on_disconnect=_enum("on_disconnect", message.on_disconnect, _ON_DISCONNECT),
        idle_timeout_s=(
            timeout.seconds + timeout.nanos / 1e9
            if message.HasField("idle_timeout")
            else defaults.idle_timeout_s
        ),
    )


def _enum(name: str, number: int, values: Mapping[int, E]) -> E:
    if number not in values:
        raise InvalidArgument(f"{name} {number} is not known to this daemon")
    return values[number]


def read_seed(message: operations_pb2.Open | operations_pb2.Fork | ForkSessionRequest) -> int:
    """Return the seed in a message, or a new one."""
    return message.seed if message.HasField("seed") else new_seed()


class Reader:
    """Reads the messages of one session; every method raises CellwireError for what is wrong."""

    def __init__(self, model: ServedModel, settings: Settings) -> None:
        self._model = model
        self._vocabulary = model.vocabulary
        self._settings = settings
        self._readers: dict[str, Callable[[int, Any], Operation]] = {
            "append": self.append,
            "generate": self.generate,
            "complete": self.complete,
            "accept": lambda i, message: Accept(i, message.index, message.tokens),
            "rewind": _rewind,
            "fork": lambda i, message: Fork(i, new_session_id(), read_seed(message)),
            "score": self.score,
            "classify": lambda i, _: self.classify(i),
            "close": lambda i, message: Close(i, message.keep),
        }

    def operation(self, request: StreamSessionRequest) -> Operation:
        """Return the operation a message asks for, unless it is open, attach or cancel."""
        name = request.WhichOneof("operation")
        if name in {"open", "attach"}:
            raise InvalidArgument("open or attach comes first, and once; this stream has one")
        read = self._readers.get(name or "")
        if read is None:
            raise InvalidArgument("the message holds no operation this daemon knows")
        return read(request.operation_id, getattr(request, name or ""))

    def append(self, operation_id: int, message: operations_pb2.Append) -> Append:
        """Return the append a message asks for."""
        return Append(operation_id, self._tokens(message, "append"))

    def score(self, operation_id: int, message: operations_pb2.Score) -> Score:
        """Return the score a message asks for."""
        self._must_write()
        return Score(operation_id, self._tokens(message, "score"), message.log_probabilities)

    def _tokens(self, message: operations_pb2.Append | operations_pb2.Score, name: str) -> Tokens:
        content = message.data or message.text
        if not content:
            raise InvalidArgument(f"the text to {name} is empty")
        _check_length(len(content), name)
        tokens = self._encode(content, self._settings.unknown_symbols)
        _check_length(len(tokens), name)  # bytes, or composed characters, may be more
        if not len(tokens):
            raise InvalidArgument(f"the text to {name} has no symbol that the model knows")
        return tokens

    def _encode(self, content: str | bytes, unknown: Unknown = Unknown.REJECT) -> Tokens:
        """Return the tokens of a text or of bytes; InvalidArgument if they cannot be read."""
        try:
            if isinstance(content, bytes):
                return self._vocabulary.encode_bytes(content)
            return self._vocabulary.encode(content, unknown)
        except model_file.UnknownSymbol as error:
            raise UnknownSymbol(error) from error
        except model_file.TextError as error:
            raise InvalidArgument(str(error)) from error

    def generate(self, operation_id: int, message: operations_pb2.Generate) -> Generate:
        """Return the generate a message asks for."""
        self._must_write()
        check_stop_strings(message.stop_strings)
        return Generate(
            operation_id,
            message.max_tokens,
            self._sampling(message.sampling),
            message.log_probabilities,
            message.top_alternatives,
            tuple(self._stop(text) for text in message.stop_strings),
        )

    def _stop(self, text: str) -> tuple[int, ...]:
        chars, window = len(text), self._settings.rewind_window
        if chars <= _MAX_STOP_CHARS:
            tokens = tuple(self._encode(text).tolist())
            chars = len(tokens)
            if chars <= window:
                return tokens
        raise InvalidArgument(
            f"a stop string has {chars:,} characters, and the session was opened with a "
            f"rewind_window of {window}"
        )

    def _sampling(self, message: operations_pb2.Sampling) -> Sampling:
        check_biases(len(message.logit_bias))
        penalised = message.HasField("repetition_penalty")
        return Sampling(
            temperature=message.temperature if message.HasField("temperature") else 1.0,
            top_k=message.top_k,
            top_p=message.top_p if message.HasField("top_p") else 1.0,
            min_p=message.min_p,
            repetition_penalty=message.repetition_penalty if penalised else 1.0,
            repetition_window=message.repetition_window or DEFAULT_REPETITION_WINDOW,
            logit_bias=tuple(self._bias(bias) for bias in message.logit_bias),
            seed=message.seed if message.HasField("seed") else None,
        )

    def _bias(self, message: operations_pb2.LogitBias) -> Bias:
        symbol = message.symbol[: _MAX_SYMBOL_CHARS + 1]
        tokens = self._encode(symbol)
        if len(tokens) != 1 or len(symbol) > _MAX_SYMBOL_CHARS:
            raise InvalidArgument(f"logit_bias takes single symbols; {symbol!r} is not one")
        return Bias(int(tokens[0]), message.bias)

    def complete(self, operation_id: int, message: operations_pb2.Complete) -> Complete:
        """Return the complete a message asks for."""
        self._must_write()
        return Complete(
            operation_id,
            beam_width=message.beam_width or DEFAULT_BEAM_WIDTH,
            completion_count=message.completion_count or 1,
            max_tokens=message.max_tokens or DEFAULT_COMPLETE_TOKENS,
            length_penalty=message.length_penalty,
            end=self._end(message.end),
            partial_results=message.partial_results,
        )

    def _end(self, end: int) -> CompletionEnd:
        vocabulary = self._vocabulary
        match end:
            case operations_pb2.COMPLETION_END_UNSPECIFIED | operations_pb2.COMPLETION_END_LENGTH:
                return CompletionEnd()
            case operations_pb2.COMPLETION_END_WORD:
                if not vocabulary.between_words:  # every symbol is a whole word
                    return CompletionEnd(vocabulary.in_words)
                return CompletionEnd(vocabulary.between_words, vocabulary.in_words)
            case operations_pb2.COMPLETION_END_LINE:
                return CompletionEnd(vocabulary.line_feeds)
            case _:
                raise InvalidArgument(f"end {end} is not known to this daemon")

    def classify(self, operation_id: int) -> Classify:
        """Return the classify a message asks for."""
        if not self._model.cell.labels:
            raise FailedPrecondition(
                f"the model {self._model.name!r} has no labels to classify with"
            )
        return Classify(operation_id)

    def _must_write(self) -> None:
        if not self._model.cell.writes:
            raise FailedPrecondition(
                f"the model {self._model.name!r} only classifies; it cannot write"
            )


def _rewind(operation_id: int, message: operations_pb2.Rewind) -> Rewind:
    match message.WhichOneof("target"):
        case "tokens":
            return Rewind(operation_id, tokens=message.tokens)
        case "offset":
            return Rewind(operation_id, offset=message.offset)
        case _:
            raise InvalidArgument("rewind says neither by how many tokens nor to which offset")


def _check_length(chars: int, name: str) -> None:
    if chars > MAX_APPEND_TOKENS:
        raise InvalidArgument(
            f"the text to {name} has {chars:,} characters, and {MAX_APPEND_TOKENS:,} is the most; "
            "send it in pieces"
        )
