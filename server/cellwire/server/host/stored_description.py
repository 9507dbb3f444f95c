"""What the store tells of a session that another daemon has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from cellwire.server.batch.limits import TAIL_TOKENS
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.registry import Registry, ServedModel
from cellwire.server.host.safe_revisions import SafePoint
from cellwire.server.host.settings import Durability, Settings
from cellwire.server.state.named_checkpoint import NamedCheckpoint
from cellwire.server.store.store import Store


@dataclass(frozen=True, slots=True)
class StoredDescription:
    """A session as far as it is safe."""

    session_id: str
    model: ServedModel
    seed: int
    durability: Durability
    safe: SafePoint
    tail: tuple[int, ...]  # its last tokens
    checkpoints: Sequence[NamedCheckpoint] = ()


async def describe_stored(store: Store, registry: Registry, session_id: str) -> StoredDescription:
    """Describe a session without claiming it.

    NotFound, DamagedRecord, StoreFailed; FailedPrecondition if its model is not served here.
    """
    load = partial(store.load, session_id, TAIL_TOKENS)
    stored = await in_own_thread("look at a session", load)
    head, header = stored.head, stored.head.header
    return StoredDescription(
        session_id,
        registry.find_file(header.model_sha256),
        header.seed,
        Settings.restored(header.settings, header.rewind_window).durability,
        SafePoint(head.revision, head.length),
        tuple(stored.tokens[-TAIL_TOKENS:]),
        stored.checkpoints,
    )
