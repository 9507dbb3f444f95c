"""Operations that are read without the session's vocabulary, from the contract's messages."""

from __future__ import annotations

from cellwire.server.errors import FailedPrecondition, InvalidArgument
from cellwire.server.host.settings import Settings
from cellwire.server.rpc.reading_settings import read_new_id, read_seed
from cellwire.server.session.operations import Checkpoint, Discard, Fork, Restore, Rewind, Save
from cellwire.v1 import operations_pb2


def read_rewind(operation_id: int, message: operations_pb2.Rewind) -> Rewind:
    """Return a rewind; InvalidArgument if it says nothing."""
    match message.WhichOneof("target"):
        case "tokens":
            return Rewind(operation_id, tokens=message.tokens)
        case "offset":
            return Rewind(operation_id, offset=message.offset)
        case _:
            raise InvalidArgument(
                "rewind says neither by how many tokens nor to which offset; set one of the two"
            )


def read_fork(operation_id: int, message: operations_pb2.Fork, settings: Settings) -> Fork:
    """Return a fork, as durable as its session; InvalidArgument for an id that is none."""
    return Fork(operation_id, read_new_id(message), read_seed(message), settings.durable)


def read_checkpoint(
    operation_id: int, message: operations_pb2.Checkpoint, settings: Settings
) -> Checkpoint:
    """Return a checkpoint; FailedPrecondition, InvalidArgument for a name that is none."""
    _check_durable(settings, "can have no checkpoints")
    return Checkpoint(operation_id, message.name)


def read_restore(operation_id: int, message: operations_pb2.Restore, settings: Settings) -> Restore:
    """Return a restore; FailedPrecondition."""
    _check_durable(settings, "can have no checkpoints")
    return Restore(operation_id, message.name)


def read_discard(operation_id: int, message: operations_pb2.Discard, settings: Settings) -> Discard:
    """Return a discard; FailedPrecondition."""
    _check_durable(settings, "can have no checkpoints")
    return Discard(operation_id, message.name)


def _check_durable(settings: Settings, consequence: str) -> None:
    if not settings.durable:
        raise FailedPrecondition(
            f"the session is not durable, so it {consequence}; open it with durability SAFE_LATER "
            "or SAFE_FIRST"
        )


def read_save(operation_id: int, settings: Settings) -> Save:
    """Return a save; FailedPrecondition, InvalidArgument."""
    _check_durable(settings, "cannot be saved")
    if operation_id == 0:
        raise InvalidArgument(
            "save needs an operation_id other than 0: saved comes unasked with 0",
            field="operation_id",
        )
    return Save(operation_id)
