"""SessionsService: sessions from outside their streams."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from grpc import aio

from cellwire.server.engine.engine import Engine
from cellwire.server.errors import Aborted, CellwireError, FailedPrecondition, InvalidArgument
from cellwire.server.host.call_engine import call_engine
from cellwire.server.host.registry import Registry, ServedModel
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.settings import new_session_id, seed_of, settings_from
from cellwire.server.rpc.models import model_message
from cellwire.server.rpc.status import with_status
from cellwire.server.state.snapshot import VERSION, Snapshot, from_bytes, to_bytes
from cellwire.v1 import operations_pb2
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
)
from cellwire.v1.sessions_pb2_grpc import SessionsServiceServicer

T = TypeVar("T")
Context = aio.ServicerContext[Any, Any]


class SessionsService(SessionsServiceServicer):
    """Whoever knows a session's id may use it."""

    def __init__(self, sessions: SessionDirectory) -> None:
        self._sessions = sessions

    @with_status
    async def GetSession(self, request: GetSessionRequest, context: Context) -> GetSessionResponse:
        """Tell what a session is and does."""
        live = self._sessions.find(request.session_id)
        description = await call_engine(live.model, lambda e: e.describe(live.id))
        tail, _ = live.model.vocabulary.text(description.tail)
        return GetSessionResponse(
            model=model_message(live.model),
            offset=description.offset,
            tail=tail,
            attached=live.holder is not None,
            operation_ids=description.operation_ids,
            seed=live.seed,
        )

    @with_status
    async def ForkSession(
        self, request: ForkSessionRequest, context: Context
    ) -> ForkSessionResponse:
        """Copy a session as it is at this moment."""
        live = self._sessions.find(request.session_id)
        seed = seed_of(request.fork)
        new = self._sessions.adopt(new_session_id(), live.model, seed, live.settings)
        offset = await _begin(new, lambda e: e.fork(live.id, new.id, seed))
        forked = operations_pb2.Forked(session_id=new.id, seed=seed, offset=offset)
        return ForkSessionResponse(forked=forked)

    @with_status
    async def ExportSession(
        self, request: ExportSessionRequest, context: Context
    ) -> ExportSessionResponse:
        """Return a session as bytes."""
        live = self._sessions.find(request.session_id)
        frozen = await call_engine(live.model, lambda e: e.snapshot(live.id))
        snapshot = Snapshot(VERSION, live.model.cell.sha256, live.settings.as_numbers(), frozen)
        return ExportSessionResponse(snapshot=await asyncio.to_thread(to_bytes, snapshot))

    @with_status
    async def ImportSession(
        self, request: ImportSessionRequest, context: Context
    ) -> ImportSessionResponse:
        """Make a session of bytes."""
        registry = self._sessions.registry
        largest_state = max(model.cell.state_bytes for model in registry)
        snapshot = await asyncio.to_thread(from_bytes, request.snapshot, largest_state)
        model = _model_of(snapshot, registry)
        frozen = snapshot.session
        numbers = {**snapshot.settings, "rewind_window": frozen.window}
        settings = settings_from(numbers, model.vocabulary)
        if frozen.tokens.max(initial=0) >= len(model.vocabulary):
            raise InvalidArgument("the snapshot holds symbols that the model does not know")
        new = self._sessions.adopt(new_session_id(), model, frozen.seed, settings)
        await _begin(new, lambda e: e.restore(new.id, frozen))
        return ImportSessionResponse(
            session_id=new.id, model=model_message(model), offset=frozen.length
        )

    @with_status
    async def DeleteSession(
        self, request: DeleteSessionRequest, context: Context
    ) -> DeleteSessionResponse:
        """End a session at once."""
        self._sessions.find(request.session_id).end(Aborted("the session was deleted"))
        return DeleteSessionResponse()


async def _begin(new: SessionHandle, make: Callable[[Engine], T]) -> T:
    """Let the engine make a session that nobody is attached to.

    Ended again if it cannot, or if whoever asked has gone: nobody would know its id.
    """
    try:
        answer = await call_engine(new.model, make)
    except (CellwireError, asyncio.CancelledError):
        new.end()
        raise
    new.expire_later()
    return answer


def _model_of(snapshot: Snapshot, registry: Registry) -> ServedModel:
    for model in registry:
        if model.cell.sha256 == snapshot.model_sha256:
            return model
    raise FailedPrecondition(
        f"the snapshot belongs to a model this daemon does not serve (its file's SHA-256 begins "
        f"with {snapshot.model_sha256[:12]})"
    )
