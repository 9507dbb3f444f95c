"""Operations that are read without the session's vocabulary, from the contract's messages."""

from __future__ import annotations

from cellwire.server.errors import FailedPrecondition, InvalidArgument
from cellwire.server.host.settings import Settings
from cellwire.server.rpc.reading_settings import read_new_id, read_seed
from cellwire.server.session.operations import Fork, Rewind, Save
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


def read_save(operation_id: int, settings: Settings) -> Save:
    """Return a save; FailedPrecondition, InvalidArgument."""
    if not settings.durable:
        raise FailedPrecondition(
            "the session is not durable, so it cannot be saved; open it with durability SAFE_LATER "
            "or SAFE_FIRST"
        )
    if operation_id == 0:
        raise InvalidArgument(
            "save needs an operation_id other than 0: saved comes unasked with 0",
            field="operation_id",
        )
    return Save(operation_id)
