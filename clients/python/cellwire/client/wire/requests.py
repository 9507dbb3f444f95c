"""From this client's arguments to the contract's messages.

The builders raise ValueError for a value that the message's field cannot hold, and TypeError for an
argument that does not exist.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TypeVar

from google.protobuf.duration_pb2 import Duration

from cellwire.client.durability import Durability
from cellwire.client.options import (
    CompletionEnd,
    DurabilityName,
    OnDisconnect,
    UnknownSymbols,
)
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest
from cellwire.v1.operations_pb2 import (
    Accept,
    Append,
    Attach,
    Cancel,
    Checkpoint,
    Classify,
    Close,
    Complete,
    Discard,
    Fork,
    Generate,
    LogitBias,
    Open,
    Restore,
    Rewind,
    Sampling,
    Save,
    Score,
)

Operation = (
    Open
    | Attach
    | Append
    | Generate
    | Complete
    | Accept
    | Rewind
    | Checkpoint
    | Restore
    | Discard
    | Fork
    | Score
    | Classify
    | Cancel
    | Close
    | Save
)

_UNKNOWN_SYMBOLS: dict[UnknownSymbols, operations_pb2.UnknownSymbols.ValueType] = {
    "reject": operations_pb2.UNKNOWN_SYMBOLS_REJECT,
    "skip": operations_pb2.UNKNOWN_SYMBOLS_SKIP,
    "replace": operations_pb2.UNKNOWN_SYMBOLS_REPLACE,
}
_ON_DISCONNECT: dict[OnDisconnect, operations_pb2.OnDisconnect.ValueType] = {
    "delete": operations_pb2.ON_DISCONNECT_DELETE,
    "cancel": operations_pb2.ON_DISCONNECT_CANCEL,
    "pause": operations_pb2.ON_DISCONNECT_PAUSE,
    "continue": operations_pb2.ON_DISCONNECT_CONTINUE,
}
_DURABILITIES: dict[str, operations_pb2.Durability.ValueType] = {
    Durability.NONE: operations_pb2.DURABILITY_UNSPECIFIED,
    Durability.SAFE_LATER: operations_pb2.DURABILITY_SAFE_LATER,
    Durability.SAFE_FIRST: operations_pb2.DURABILITY_SAFE_FIRST,
}
_ENDS: dict[CompletionEnd, operations_pb2.CompletionEnd.ValueType] = {
    "length": operations_pb2.COMPLETION_END_LENGTH,
    "word": operations_pb2.COMPLETION_END_WORD,
    "line": operations_pb2.COMPLETION_END_LINE,
}
_Word = TypeVar("_Word", bound=str)
_Number = TypeVar("_Number", bound=int)


def request_of(operation_id: int, operation: Operation) -> StreamSessionRequest:
    """Build a request of a session's stream."""
    request = StreamSessionRequest(operation_id=operation_id)
    # The contract names the fields after their messages.
    field = getattr(request, type(operation).__name__.lower())
    field.SetInParent()  # an empty message has to be set too
    field.CopyFrom(operation)
    return request


def open_message(
    *,
    model: str | None = None,
    seed: int | None = None,
    rewind_window: int | None = None,
    unknown_symbols: UnknownSymbols = "reject",
    on_disconnect: OnDisconnect | None = None,
    idle_timeout_s: float | None = None,
    durability: Durability | DurabilityName = Durability.NONE,
    session_id: str | None = None,
) -> Open:
    """Build an open."""
    return Open(
        model=model or "",
        seed=seed,
        rewind_window=rewind_window,
        unknown_symbols=_one_of(_UNKNOWN_SYMBOLS, unknown_symbols),
        on_disconnect=operations_pb2.ON_DISCONNECT_UNSPECIFIED
        if on_disconnect is None
        else _one_of(_ON_DISCONNECT, on_disconnect),
        idle_timeout=None if idle_timeout_s is None else _duration(idle_timeout_s),
        durability=durability_number(durability),
        session_id=session_id,
    )


def durability_number(
    durability: Durability | DurabilityName,
) -> operations_pb2.Durability.ValueType:
    """Return the contract's number of a durability."""
    return _one_of(_DURABILITIES, durability)


def append_message(text: str | bytes) -> Append:
    """Build an append."""
    return Append(text=text) if isinstance(text, str) else Append(data=text)


def generate_message(
    *,
    max_tokens: int,
    seed: int | None = None,
    temperature: float = 1.0,
    top_k: int = 0,
    top_p: float = 1.0,
    min_p: float = 0.0,
    repetition_penalty: float = 1.0,
    repetition_window: int = 0,
    logit_bias: Mapping[str, float] | None = None,
    stop_strings: Sequence[str] = (),
    log_probabilities: bool = False,
    top_alternatives: int = 0,
) -> Generate:
    """Build a generate."""
    if isinstance(stop_strings, str):
        raise TypeError("stop_strings is a sequence of strings, not one string")
    biases = (logit_bias or {}).items()
    sampling = Sampling(
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        repetition_window=repetition_window,
        logit_bias=[LogitBias(symbol=symbol, bias=bias) for symbol, bias in biases],
        seed=seed,
    )
    return Generate(
        max_tokens=max_tokens,
        sampling=sampling,
        log_probabilities=log_probabilities,
        top_alternatives=top_alternatives,
        stop_strings=stop_strings,
    )


def complete_message(
    *,
    beam_width: int = 0,
    completion_count: int = 0,
    max_tokens: int = 0,
    length_penalty: float = 0.0,
    end: CompletionEnd = "length",
    partial_results: bool = False,
) -> Complete:
    """Build a complete."""
    return Complete(
        beam_width=beam_width,
        completion_count=completion_count,
        max_tokens=max_tokens,
        length_penalty=length_penalty,
        end=_one_of(_ENDS, end),
        partial_results=partial_results,
    )


def rewind_message(tokens: int | None, to: int | None) -> Rewind:
    """Build a rewind; raises TypeError unless exactly one of the arguments is given."""
    if tokens is not None and to is None:
        return Rewind(tokens=tokens)
    if to is not None and tokens is None:
        return Rewind(offset=to)
    raise TypeError("rewind takes either a number of tokens or an offset")


def score_message(text: str | bytes, *, log_probabilities: bool) -> Score:
    """Build a score."""
    if isinstance(text, str):
        return Score(text=text, log_probabilities=log_probabilities)
    return Score(data=text, log_probabilities=log_probabilities)


def _duration(seconds: float) -> Duration:
    if not math.isfinite(seconds):
        raise ValueError(f"{seconds} is not a number of seconds")
    duration = Duration()
    duration.FromNanoseconds(round(seconds * 1e9))
    return duration


def _one_of(numbers: Mapping[_Word, _Number], word: _Word) -> _Number:
    """Return a word's number; callers without a type checker may pass any word."""
    if word not in numbers:
        raise ValueError(f"{word!r} is none of {', '.join(map(repr, numbers))}")
    return numbers[word]
