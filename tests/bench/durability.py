"""How safe the sessions of a load are, and how they are opened."""

from __future__ import annotations

import secrets

from cellwire.v1 import operations_pb2

NONE, SAFE_LATER, SAFE_FIRST = DURABILITIES = ("none", "safe_later", "safe_first")

_OF_CONTRACT = {
    NONE: operations_pb2.DURABILITY_UNSPECIFIED,
    SAFE_LATER: operations_pb2.DURABILITY_SAFE_LATER,
    SAFE_FIRST: operations_pb2.DURABILITY_SAFE_FIRST,
}


def open_request(durability: str, seed: int, *, own_id: bool = False) -> operations_pb2.Open:
    """Return how such a session is opened; it is deleted as soon as its client leaves.

    With `own_id`, its client has chosen its id.
    """
    return operations_pb2.Open(
        seed=seed,
        session_id=secrets.token_hex(16) if own_id else None,
        durability=_OF_CONTRACT[durability],
        on_disconnect=operations_pb2.ON_DISCONNECT_DELETE,
    )
