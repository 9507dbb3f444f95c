"""The fake daemon's calls about models, and about sessions from outside."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import grpc
import grpc.aio
from tests.client.fake.models import ALPHABET, basic
from tests.client.fake.refused import Refused

from cellwire.v1 import models_pb2
from cellwire.v1.models_pb2 import (
    GetModelRequest,
    GetModelResponse,
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
    Session,
)
from cellwire.v1.sessions_pb2_grpc import SessionsServiceServicer

if TYPE_CHECKING:
    from tests.client.fake.daemon import FakeDaemon
    from tests.client.fake.session import FakeSession

    _Context = grpc.aio.ServicerContext[Any, Any]

_Response = TypeVar("_Response")
_SNAPSHOT = b"snapshot:"


async def answer(context: _Context, do: Callable[[], _Response]) -> _Response:
    """Return what do returns, or end the call with its refusal."""
    try:
        return do()
    except Refused as error:
        await error.abort(context)


class Models(ModelsServiceServicer):
    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon

    async def GetModel(  # noqa: N802  # the contract's name
        self, request: GetModelRequest, context: _Context
    ) -> GetModelResponse:
        def do() -> GetModelResponse:
            model = self._daemon.text(Open(model=request.name)).model
            return GetModelResponse(model=_viewed(model, request.view))

        return await answer(context, do)

    async def ListModels(  # noqa: N802  # the contract's name
        self,
        request: ListModelsRequest,
        context: _Context,  # noqa: ARG002  # grpc passes it
    ) -> ListModelsResponse:
        models = self._daemon.models
        begin = int(request.page_token or 0)
        end = begin + min(request.page_size or self._daemon.page_size, self._daemon.page_size)
        return ListModelsResponse(
            models=[_viewed(model, request.view) for model in models[begin:end]],
            next_page_token=str(end) if end < len(models) else "",
        )

    async def LoadModel(  # noqa: N802  # the contract's name
        self, request: LoadModelRequest, context: _Context
    ) -> LoadModelResponse:
        def do() -> LoadModelResponse:
            if request.name in self._served():
                raise Refused(
                    grpc.StatusCode.ALREADY_EXISTS,
                    f"a model named {request.name!r} is being served",
                )
            if request.name != "spare":
                raise Refused(
                    grpc.StatusCode.NOT_FOUND,
                    f"there is no {request.name}.onnx in the daemon's model folder",
                )
            spare = Model()
            spare.CopyFrom(ALPHABET)
            spare.name = "spare"
            self._daemon.models.append(spare)
            return LoadModelResponse(model=basic(spare))

        return await answer(context, do)

    async def UnloadModel(  # noqa: N802  # the contract's name
        self, request: UnloadModelRequest, context: _Context
    ) -> UnloadModelResponse:
        def do() -> UnloadModelResponse:
            served = self._served()
            if request.name not in served:
                raise Refused(grpc.StatusCode.NOT_FOUND, f"no model is named {request.name!r}")
            if request.name == served[0]:
                raise Refused(
                    grpc.StatusCode.FAILED_PRECONDITION,
                    f"{request.name!r} is the default model, and stays",
                )
            sessions = [
                session
                for session in self._daemon.sessions.values()
                if session.text.model.name == request.name
            ]
            for session in sessions:
                session.end(f"the model {request.name!r} was unloaded")
            del self._daemon.models[served.index(request.name)]
            return UnloadModelResponse(ended_session_count=len(sessions))

        return await answer(context, do)

    def _served(self) -> list[str]:
        if not self._daemon.model_folder:
            raise Refused(
                grpc.StatusCode.PERMISSION_DENIED,
                "the daemon was started without a folder to load models from; start it with "
                "--model-folder",
            )
        return [model.name for model in self._daemon.models]


class Sessions(SessionsServiceServicer):
    def __init__(self, daemon: FakeDaemon) -> None:
        self._daemon = daemon

    async def GetSession(  # noqa: N802  # the contract's name
        self, request: GetSessionRequest, context: _Context
    ) -> GetSessionResponse:
        self._daemon.note_call("GetSession", context)

        def do() -> GetSessionResponse:
            session = self._daemon.session(request.session_id)
            return GetSessionResponse(session=_described(session))

        return await answer(context, do)

    async def ForkSession(  # noqa: N802  # the contract's name
        self, request: ForkSessionRequest, context: _Context
    ) -> ForkSessionResponse:
        self._daemon.note_call("ForkSession", context)

        def do() -> ForkSessionResponse:
            session = self._daemon.session(request.session_id)
            seed = request.seed if request.HasField("seed") else None
            return ForkSessionResponse(session=_described(self._daemon.fork(session, seed)))

        return await answer(context, do)

    async def ExportSession(  # noqa: N802  # the contract's name
        self, request: ExportSessionRequest, context: _Context
    ) -> ExportSessionResponse:
        self._daemon.note_call("ExportSession", context)

        def do() -> ExportSessionResponse:
            session = self._daemon.session(request.session_id)
            return ExportSessionResponse(snapshot=_SNAPSHOT + session.text.data)

        return await answer(context, do)

    async def ImportSession(  # noqa: N802  # the contract's name
        self, request: ImportSessionRequest, context: _Context
    ) -> ImportSessionResponse:
        self._daemon.note_call("ImportSession", context)

        def do() -> ImportSessionResponse:
            if not request.snapshot.startswith(_SNAPSHOT):
                raise Refused(
                    grpc.StatusCode.INVALID_ARGUMENT, "the bytes are not a session's snapshot"
                )
            text = self._daemon.text(Open())
            text.append(Append(data=request.snapshot.removeprefix(_SNAPSHOT)))
            return ImportSessionResponse(
                session=_described(self._daemon.add(text, request.session_id))
            )

        return await answer(context, do)

    async def DeleteSession(  # noqa: N802  # the contract's name
        self, request: DeleteSessionRequest, context: _Context
    ) -> DeleteSessionResponse:
        self._daemon.note_call("DeleteSession", context)

        def do() -> DeleteSessionResponse:
            self._daemon.session(request.session_id).end()
            return DeleteSessionResponse()

        return await answer(context, do)


def _described(session: FakeSession) -> Session:
    return Session(
        session_id=session.id,
        model=session.text.model.name,
        seed=session.text.seed(),
        offset=len(session.text.data),
        tail=session.text.data[-1024:].decode(),
        attached=session.stream is not None,
        operation_ids=session.operation_ids,
        checkpoints=session.text.checkpoints,
    )


def _viewed(model: Model, view: models_pb2.ModelView.ValueType) -> Model:
    return model if view == models_pb2.MODEL_VIEW_FULL else basic(model)
