"""The text of an exported session before what it remembers: only a store keeps that."""

from __future__ import annotations

from array import array

from cellwire.server.errors import InvalidArgument
from cellwire.server.state.snapshot import SnapshotFile
from cellwire.server.store.record import Damaged
from cellwire.server.store.tokens import unpack_tokens


def earlier_text(file: SnapshotFile) -> array[int]:
    """Return the tokens before those that the exported session remembers; InvalidArgument."""
    try:
        tokens = unpack_tokens(file.earlier) if file.earlier else array("I")
    except Damaged as error:
        raise InvalidArgument(f"the snapshot's earlier text: {error}") from error
    if len(tokens) > file.session.text_start:
        raise InvalidArgument("the snapshot contradicts itself")
    return tokens
