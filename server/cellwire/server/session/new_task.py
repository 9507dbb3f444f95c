"""The task of an operation."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellwire.server.errors import FailedPrecondition, NotFound, OutOfRange
from cellwire.server.session import score_task
from cellwire.server.session.append_task import AppendTask
from cellwire.server.session.classify_task import ClassifyTask
from cellwire.server.session.complete_task import CompleteTask
from cellwire.server.session.events import Completion
from cellwire.server.session.generate_task import Credit, GenerateTask
from cellwire.server.session.operations import (
    Accept,
    Append,
    Classify,
    Complete,
    Generate,
    Operation,
    Restore,
    Rewind,
    Score,
)
from cellwire.server.session.restore_task import RestoreTask
from cellwire.server.session.score_task import ScoreTask
from cellwire.server.session.task import Emit, OperationTask
from cellwire.server.state.arena import Arena
from cellwire.server.state.state_history import StateHistory

TaskOperation = Append | Accept | Generate | Complete | Score | Classify | Restore


@dataclass(frozen=True, slots=True)
class TaskContext:
    """What tasks need of their session."""

    session_id: str
    state_history: StateHistory
    emit: Emit
    arena: Arena
    generator_key: int
    credit: Credit
    completions: tuple[Completion, ...] | None  # of the text as it is


def check_possible(
    operation: Operation,
    state_history: StateHistory,
    completions: tuple[Completion, ...] | None,
) -> None:
    """Raise CellwireError if an operation is not possible, whatever room there is."""
    match operation:
        case Accept():
            _accepted(operation, completions)
        case Rewind():
            state_history.check_rewind(operation.target(len(state_history)))
        case Append() | Score() if operation.reread:
            _check_reread(operation, state_history)
        case Generate() | Complete() | Classify() if len(state_history) == 0:
            raise FailedPrecondition("the session has no text yet; append some first")
        case Generate(start_offset=int(start)) if start > len(state_history):
            raise OutOfRange(
                f"the session is at offset {len(state_history)}; no generate began at {start}"
            )


def _check_reread(operation: Append | Score, state_history: StateHistory) -> None:
    reread = operation.reread
    if tuple(state_history.text.last(len(reread))) != reread:
        raise FailedPrecondition(
            "the text does not end with what this text continues: an append before it has failed, "
            "or was cancelled; send it again"
        )
    state_history.check_rewind(len(state_history) - len(reread) + operation.kept)


def new_task(operation: TaskOperation, context: TaskContext) -> OperationTask:
    """Return the task of an operation that is possible; ResourceExhausted without its slots."""
    common = context.session_id, context.state_history, context.emit
    match operation:
        case Append() | Accept():
            return AppendTask(*common, _append(operation, context.completions))
        case Score():
            return ScoreTask(*common, operation, context.arena)
        case Generate():
            return GenerateTask(*common, operation, context.generator_key, context.credit)
        case Complete():
            return CompleteTask(*common, operation, context.arena)
        case Classify():
            return ClassifyTask(*common, operation)
        case Restore():
            return RestoreTask(*common, operation)


def slots_needed(operation: Operation) -> int:
    """Return the slots that the task of an operation reserves, beside those of its session."""
    match operation:
        case Complete():
            return operation.beam_width
        case Score():
            return score_task.SLOTS
        case _:
            return 0


def _append(operation: Append | Accept, completions: tuple[Completion, ...] | None) -> Append:
    """Return an append; CellwireError if nothing can be accepted."""
    if isinstance(operation, Append):
        return operation
    return Append(operation.id, np.array(_accepted(operation, completions), np.uint32))


def _accepted(accept: Accept, completions: tuple[Completion, ...] | None) -> tuple[int, ...]:
    """Return the accepted tokens; CellwireError if there are none."""
    if completions is None:
        raise FailedPrecondition("the text as it is now has no completions; complete it first")
    if accept.index >= len(completions):
        raise NotFound(
            f"there is no completion {accept.index}: the last complete found {len(completions)}, "
            "counted from 0"
        )
    tokens = completions[accept.index].tokens
    if accept.tokens > len(tokens):
        raise OutOfRange(f"the completion has {len(tokens)} tokens, not {accept.tokens}")
    return tokens[: accept.tokens or None]
