"""SessionsService: sessions from outside their streams."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc import aio

from cellwire.server.errors import Aborted, HasClientElsewhere, ResourceExhausted
from cellwire.server.host import session_copies
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.host.stored_description import describe_stored
from cellwire.server.rpc.durable_writing import described_message
from cellwire.server.rpc.places import Places
from cellwire.server.rpc.reading_settings import read_durability, read_new_id, read_seed
from cellwire.server.rpc.wire import write, writing_its_response
from cellwire.server.rpc.writing import session_message
from cellwire.v1.sessions_pb2 import (
    DeleteSessionRequest,
    DeleteSessionResponse,
    ExportSessionRequest,
    ExportSessionResponse,
    ForkSessionRequest,
    ForkSessionResponse,
    GetSessionRequest,
    GetSessionResponse,
    ImportSessionRequest,
    ImportSessionResponse,
    Session,
)
from cellwire.v1.sessions_pb2_grpc import SessionsServiceServicer

EXPORT_TIMEOUT_S = 60
"""How long a client may take to read an exported session."""

Context = aio.ServicerContext[Any, Any]


class SessionsService(SessionsServiceServicer):
    """Describes, copies, exports, imports and deletes the sessions of a directory."""

    def __init__(self, sessions: SessionDirectory) -> None:
        self._sessions = sessions
        self._exports = Places(1)

    async def GetSession(self, request: GetSessionRequest, context: Context) -> GetSessionResponse:
        """Return a session's position and activity."""
        try:
            session = await self._sessions.reach(request.session_id)
        except HasClientElsewhere:
            return GetSessionResponse(session=await self._described_elsewhere(request.session_id))
        description = await session_copies.describe(session)
        return GetSessionResponse(session=session_message(session, description))

    async def _described_elsewhere(self, session_id: str) -> Session:
        sessions = self._sessions
        assert sessions.stored is not None
        store = sessions.stored.store
        return described_message(await describe_stored(store, sessions.registry, session_id))

    async def ForkSession(
        self, request: ForkSessionRequest, context: Context
    ) -> ForkSessionResponse:
        """Copy a session as it is at this moment."""
        new_id = await self._new_id(request, chosen=request.HasField("new_session_id"))
        parent = await self._sessions.reach(request.session_id)
        seed = read_seed(request)
        copy, description = await session_copies.fork(self._sessions, parent, seed, new_id)
        await self._created(new_id, chosen=request.HasField("new_session_id"))
        return ForkSessionResponse(session=session_message(copy, description))

    @writing_its_response
    async def ExportSession(  # type: ignore[override]
        self, request: ExportSessionRequest, context: Context
    ) -> None:
        """Write a session as bytes. A connection has one at a time until its client has read it."""
        async with self._exports.taken(context.peer()):
            session = await self._sessions.reach(request.session_id)
            snapshot = await session_copies.export(self._sessions, session)
            response = ExportSessionResponse(snapshot=snapshot)
            try:
                async with asyncio.timeout(EXPORT_TIMEOUT_S):
                    await write(context, response)
            except TimeoutError:
                raise ResourceExhausted(
                    f"the client has not read the session within {EXPORT_TIMEOUT_S} s"
                ) from None

    async def ImportSession(
        self, request: ImportSessionRequest, context: Context
    ) -> ImportSessionResponse:
        """Create a session from exported bytes."""
        new_id = await self._new_id(request, chosen=request.HasField("session_id"))
        durability = read_durability(request)
        session, description = await session_copies.restore(
            self._sessions, request.snapshot, new_id, durability
        )
        await self._created(new_id, chosen=request.HasField("session_id"))
        return ImportSessionResponse(session=session_message(session, description))

    async def DeleteSession(
        self, request: DeleteSessionRequest, context: Context
    ) -> DeleteSessionResponse:
        """Delete a session at once."""
        await self._sessions.delete(request.session_id, Aborted("the session was deleted"))
        return DeleteSessionResponse()

    async def _new_id(
        self, request: ForkSessionRequest | ImportSessionRequest, *, chosen: bool
    ) -> str:
        session_id = read_new_id(request)
        if chosen:
            await self._sessions.check_new(session_id)
        return session_id

    async def _created(self, session_id: str, *, chosen: bool) -> None:
        """Raise AlreadyExists if another daemon has made a session of a chosen id meanwhile."""
        stored = self._sessions.stored
        if chosen and stored is not None and stored.shared:
            await stored.made_safe(session_id)
