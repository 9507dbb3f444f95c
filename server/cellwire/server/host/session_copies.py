"""Sessions described, copied, exported and imported, whether or not a call is attached to them."""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from cellwire.server.batch.limits import MAX_MESSAGE_BYTES
from cellwire.server.engine.engine import Engine
from cellwire.server.engine.stats import Description
from cellwire.server.errors import CellwireError, InvalidArgument, OutOfRange
from cellwire.server.host.call_engine import call_engine
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.earlier_text import of_one_time, text_before
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.settings import Durability, Settings
from cellwire.server.host.snapshot_text import earlier_tokens
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.state.snapshot import (
    VERSION,
    SessionSnapshot,
    SnapshotFile,
    from_bytes,
    to_bytes,
)
from cellwire.server.store.tokens import pack_tokens

_OTHER_BYTES = 1_024  # of a message that carries a session


async def describe(session: SessionHandle) -> Description:
    """Return a session's position and activity; NotFound if its engine has closed it."""
    return await call_engine(session.model, lambda engine: engine.describe(session.id))


async def fork(
    sessions: SessionDirectory, parent: SessionHandle, seed: int, new_id: str
) -> tuple[SessionHandle, Description]:
    """Copy a session as it is at this moment; AlreadyExists, ResourceExhausted without room."""
    sessions.check_room(parent.settings, parent.text.remembered_bytes)
    new = sessions.add(new_id, parent.model, seed, parent.settings)
    made = await _make(new, lambda engine: engine.fork(parent.id, new.id, seed))
    await _make_safe(sessions, new)
    return new, made


async def export(sessions: SessionDirectory, session: SessionHandle) -> bytes:
    """Return a session as bytes, as it is at this moment; OutOfRange if they are too many.

    Of a durable session, with all of its text; Unavailable if its store does not have that.
    """
    model, stored = session.model, sessions.stored
    if isinstance(session, DurableSession) and stored is not None:
        with stored.residents.kept(session.id):
            snapshot, earlier = await of_one_time(session, partial(_whole, stored, session))
    else:
        snapshot, earlier = await _snapshot(session), b""
    file = SnapshotFile(VERSION, model.cell.sha256, session.settings.stored(), snapshot, earlier)
    data = await asyncio.to_thread(to_bytes, file)
    if len(data) > MAX_MESSAGE_BYTES - _OTHER_BYTES:
        raise OutOfRange(
            f"the session takes {len(data):,} bytes, and a message {MAX_MESSAGE_BYTES:,}; if it is "
            "durable, export it from the store itself, with `cellwire sessions export --state DIR`"
        )
    return data


async def _snapshot(session: SessionHandle) -> SessionSnapshot:
    return await call_engine(session.model, lambda engine: engine.snapshot(session.id))


async def _whole(stored: StoredSessions, session: DurableSession) -> tuple[SessionSnapshot, bytes]:
    """Return a durable session, and the text that it does not remember itself."""
    snapshot = await _snapshot(session)
    if not snapshot.text_start:
        return snapshot, b""
    return snapshot, pack_tokens(await text_before(stored, session, snapshot.text_start))


async def restore(
    sessions: SessionDirectory, data: bytes, new_id: str, durability: Durability
) -> tuple[SessionHandle, Description]:
    """Create a session from exported bytes.

    AlreadyExists; InvalidArgument if they are damaged; FailedPrecondition if no model here is
    theirs; ResourceExhausted without room.
    """
    max_state_bytes = max(model.cell.state_bytes for model in sessions.registry)
    snapshot = await asyncio.to_thread(from_bytes, data, max_state_bytes)
    model = sessions.registry.find_file(snapshot.model_sha256)
    restored = snapshot.session
    try:
        settings = Settings.restored(snapshot.settings, restored.rewind_window)
        settings = settings.with_durability(durability).fitted_to(model.vocabulary)
        restored = replace(restored, rewind_window=settings.rewind_window)
    except InvalidArgument as error:
        raise InvalidArgument(f"the snapshot's settings: {error}", field="snapshot") from error
    earlier = earlier_tokens(snapshot)
    most = max(restored.tokens.max(initial=0), max(earlier, default=0))
    if most >= len(model.vocabulary):
        raise InvalidArgument("the snapshot holds symbols that the model does not know")
    sessions.check_room(settings, len(restored.token_bytes))
    new = sessions.add(new_id, model, restored.seed, settings)
    made = await _make(new, lambda engine: engine.restore(new.id, restored), earlier)
    await _make_safe(sessions, new)
    return new, made


async def _make(
    new: SessionHandle, make: Callable[[Engine], object], earlier: array[int] | None = None
) -> Description:
    """Let the engine create a session that waits for a call to attach; return its description.

    The session ends if that fails, or if the caller has gone, who alone would know its id.
    """

    def make_and_describe(engine: Engine) -> tuple[Description, SessionSnapshot | None]:
        make(engine)
        snapshot = engine.snapshot(new.id) if new.settings.durable else None
        return engine.describe(new.id), snapshot

    try:
        description, snapshot = await call_engine(new.model, make_and_describe)
    except CellwireError:
        new.in_engine = False
        new.end()
        raise
    except asyncio.CancelledError:
        new.end()
        raise
    if isinstance(new, DurableSession) and snapshot is not None:
        new.store_from(snapshot, earlier)
    new.begin_from(description.text_end, description.offset)
    return description


async def _make_safe(sessions: SessionDirectory, new: SessionHandle) -> None:
    """Wait until a session is safe, if its settings say so; as `StoredSessions.made_safe`."""
    if sessions.stored is not None and new.settings.durability is Durability.SAFE_FIRST:
        await sessions.stored.made_safe(new.id)
