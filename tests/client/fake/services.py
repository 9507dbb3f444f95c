"""The fake daemon's calls about models, and about sessions from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio

from cellwire.v1.models_pb2 import (
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    Model,
    UnloadModelRequest,
    UnloadModelResponse,
)
from cellwire.v1.models_pb2_grpc import ModelsServiceServicer
from cellwire.v1.operations_pb2 import Append, Open
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

from tests.client.fake.text import FakeText, Refused

if TYPE_CHECKING:
    from tests.client.fake.daemon import FakeDaemon

    _Context = grpc.aio.ServicerContext[Any, Any]

_Response = TypeVar("_Response")


async def answer(context: _Context, do: Callable[[], _Response]) -> _Response:
    """Return what do returns, or end the call with what it refuses."""
    try:
        return do()
    except Refused as error:
        await context.abort(error.code, str(error))
        raise


class Models(ModelsServiceServicer):
    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon

    async def ListModels(  # noqa: N802  # the contract's name
        self,
        request: ListModelsRequest,  # noqa: ARG002  # grpc passes it
        context: _Context,  # noqa: ARG002  # likewise
    ) -> ListModelsResponse:
        return ListModelsResponse(models=self._daemon.models)

    async def LoadModel(  # noqa: N802  # the contract's name
        self, request: LoadModelRequest, context: _Context
    ) -> LoadModelResponse:
        def do() -> LoadModelResponse:
            if request.name in self._served():
                raise Refused(grpc.StatusCode.ALREADY_EXISTS, f"{request.name} is being served")
            if request.name != "spare":
                raise Refused(grpc.StatusCode.NOT_FOUND, f"there is no {request.name}.onnx")
            self._daemon.models.append(Model(name="spare"))
            return LoadModelResponse(model=self._daemon.models[-1])

        return await answer(context, do)

    async def UnloadModel(  # noqa: N802  # the contract's name
        self, request: UnloadModelRequest, context: _Context
    ) -> UnloadModelResponse:
        def do() -> UnloadModelResponse:
            served = self._served()
            if request.name not in served:
                raise Refused(grpc.StatusCode.NOT_FOUND, f"no model is called {request.name!r}")
            if request.name == served[0]:
                raise Refused(grpc.StatusCode.FAILED_PRECONDITION, "it is the default")
            sessions = [
                session
                for session in self._daemon.sessions.values()
                if session.text.model.name == request.name
            ]
            for session in sessions:
                session.end()
            del self._daemon.models[served.index(request.name)]
            return UnloadModelResponse(sessions=len(sessions))

        return await answer(context, do)

    def _served(self) -> list[str]:
        if not self._daemon.model_folder:
            raise Refused(grpc.StatusCode.PERMISSION_DENIED, "the daemon has no model folder")
        return [model.name for model in self._daemon.models]


class Sessions(SessionsServiceServicer):
    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon

    async def GetSession(  # noqa: N802  # the contract's name
        self, request: GetSessionRequest, context: _Context
    ) -> GetSessionResponse:
        def do() -> GetSessionResponse:
            session = self._daemon.session(request.session_id)
            return GetSessionResponse(
                model=session.text.model,
                offset=len(session.text.data),
                tail=session.text.data.decode()[-1024:],
                attached=session.stream is not None,
                operation_ids=session.operation_ids,
            )

        return await answer(context, do)

    async def ForkSession(  # noqa: N802  # the contract's name
        self, request: ForkSessionRequest, context: _Context
    ) -> ForkSessionResponse:
        def do() -> ForkSessionResponse:
            session = self._daemon.session(request.session_id)
            seed = request.fork.seed if request.fork.HasField("seed") else None
            return ForkSessionResponse(forked=self._daemon.fork(session, seed))

        return await answer(context, do)

    async def ExportSession(  # noqa: N802  # the contract's name
        self, request: ExportSessionRequest, context: _Context
    ) -> ExportSessionResponse:
        def do() -> ExportSessionResponse:
            session = self._daemon.session(request.session_id)
            return ExportSessionResponse(snapshot=b"snapshot:" + session.text.data)

        return await answer(context, do)

    async def ImportSession(  # noqa: N802  # the contract's name
        self, request: ImportSessionRequest, context: _Context
    ) -> ImportSessionResponse:
        def do() -> ImportSessionResponse:
            if not request.snapshot.startswith(b"snapshot:"):
                raise Refused(grpc.StatusCode.INVALID_ARGUMENT, "these bytes are no session")
            text = FakeText(Open())
            text.append(Append(data=request.snapshot.removeprefix(b"snapshot:")))
            session = self._daemon.add(text)
            return ImportSessionResponse(
                session_id=session.id, model=text.model, offset=len(text.data)
            )

        return await answer(context, do)

    async def DeleteSession(  # noqa: N802  # the contract's name
        self, request: DeleteSessionRequest, context: _Context
    ) -> DeleteSessionResponse:
        def do() -> DeleteSessionResponse:
            self._daemon.session(request.session_id).end()
            return DeleteSessionResponse()

        return await answer(context, do)
