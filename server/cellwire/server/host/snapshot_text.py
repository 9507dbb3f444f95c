"""The text in an exported session that is before what the session remembers."""

from __future__ import annotations

from array import array

from cellwire.server.errors import InvalidArgument
from cellwire.server.state.snapshot import SnapshotFile
from cellwire.server.store.record import Damaged
from cellwire.server.store.tokens import unpack_tokens


def earlier_tokens(snapshot: SnapshotFile) -> array[int]:
    """Return the text before what a session remembers, which a store keeps; InvalidArgument."""
    try:
        tokens = unpack_tokens(snapshot.earlier) if snapshot.earlier else array("I")
    except Damaged as error:
        raise InvalidArgument(f"the snapshot's earlier text: {error}") from error
    if len(tokens) > snapshot.session.text_start:
        raise InvalidArgument("the snapshot contradicts itself")
    return tokens
