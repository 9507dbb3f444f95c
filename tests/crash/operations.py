"""What a client asks of a session, as values and as messages of the contract."""

from __future__ import annotations

from dataclasses import dataclass

from cellwire.v1 import operations_pb2 as pb
from cellwire.v1.generation_pb2 import StreamSessionRequest


@dataclass(frozen=True, slots=True)
class Append:
    text: str


@dataclass(frozen=True, slots=True)
class Generate:
    max_tokens: int
    temperature: float
    seed: int | None  # of this operation alone
    stop_strings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rewind:
    tokens: int


@dataclass(frozen=True, slots=True)
class Accept:
    """Complete, wait for the completions, and accept the beginning of the best one."""

    beam_width: int
    max_tokens: int
    tokens: int


@dataclass(frozen=True, slots=True)
class Checkpoint:
    name: str


@dataclass(frozen=True, slots=True)
class Restore:
    name: str


@dataclass(frozen=True, slots=True)
class Score:
    text: str


@dataclass(frozen=True, slots=True)
class Fork:
    session_id: str
    seed: int


@dataclass(frozen=True, slots=True)
class Save:
    """Wait until everything so far is safe."""


TextChange = Append | Generate | Rewind | Accept | Checkpoint | Restore
Operation = TextChange | Score | Fork | Save


def request(
    operation_id: int, operation: Operation, start_offset: int | None
) -> StreamSessionRequest:
    """Return an operation as a message; `start_offset` is that of a generate sent again."""
    message = StreamSessionRequest(operation_id=operation_id)
    match operation:
        case Append(text=text):
            message.append.text = text
        case Generate():
            message.generate.CopyFrom(_generate(operation, start_offset))
        case Rewind(tokens=tokens):
            message.rewind.tokens = tokens
        case Accept(tokens=tokens):
            message.accept.tokens = tokens
        case Checkpoint(name=name):
            message.checkpoint.name = name
        case Restore(name=name):
            message.restore.name = name
        case Score(text=text):
            message.score.text = text
            message.score.log_probabilities = True
        case Fork():
            message.fork.seed = operation.seed
            message.fork.session_id = operation.session_id
        case Save():
            message.save.SetInParent()
    return message


def complete_request(operation_id: int, accept: Accept) -> StreamSessionRequest:
    """Return the complete that comes before an accept."""
    complete = pb.Complete(beam_width=accept.beam_width, max_tokens=accept.max_tokens)
    return StreamSessionRequest(operation_id=operation_id, complete=complete)


def _generate(operation: Generate, start_offset: int | None) -> pb.Generate:
    return pb.Generate(
        max_tokens=operation.max_tokens,
        sampling=pb.Sampling(temperature=operation.temperature, seed=operation.seed),
        stop_strings=operation.stop_strings,
        start_offset=start_offset,
    )
