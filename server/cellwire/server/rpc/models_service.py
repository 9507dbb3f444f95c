"""ModelsService: the models that are served."""

from __future__ import annotations

from functools import partial
from typing import Any

from grpc import aio

from cellwire.server.batch.limits import DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE
from cellwire.server.errors import Aborted, AlreadyExists, InvalidArgument, ResourceExhausted
from cellwire.server.host.own_thread import in_own_thread
from cellwire.server.host.registry import ServedModel
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.rpc.models import model_message
from cellwire.v1.models_pb2 import (
    MODEL_VIEW_BASIC,
    MODEL_VIEW_FULL,
    MODEL_VIEW_UNSPECIFIED,
    GetModelRequest,
    GetModelResponse,
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    UnloadModelRequest,
    UnloadModelResponse,
)
from cellwire.v1.models_pb2_grpc import ModelsServiceServicer

_FULL: dict[int, bool] = {
    MODEL_VIEW_UNSPECIFIED: False,
    MODEL_VIEW_BASIC: False,
    MODEL_VIEW_FULL: True,
}

_MAX_LOADING = 4

Context = aio.ServicerContext[Any, Any]


class ModelsService(ModelsServiceServicer):
    """Describes the models of a registry, loads and unloads them."""

    def __init__(self, sessions: SessionDirectory) -> None:
        self._sessions = sessions
        self._registry = sessions.registry
        self._loading = 0

    async def GetModel(self, request: GetModelRequest, context: Context) -> GetModelResponse:
        """Return one model."""
        model = self._registry.find(request.name)
        return GetModelResponse(model=model_message(model, full=_is_full(request.view)))

    async def ListModels(self, request: ListModelsRequest, context: Context) -> ListModelsResponse:
        """Return a page of the models, the default first."""
        full = _is_full(request.view)
        if request.page_size < 0:
            raise InvalidArgument(
                f"page_size is {request.page_size}; it must not be negative", field="page_size"
            )
        models = list(self._registry)
        start = self._start(request.page_token, len(models))
        end = start + min(request.page_size or DEFAULT_PAGE_SIZE, MAX_PAGE_SIZE)
        return ListModelsResponse(
            models=[model_message(model, full=full) for model in models[start:end]],
            next_page_token=f"{self._registry.edition}-{end}" if end < len(models) else "",
        )

    def _start(self, page_token: str, models: int) -> int:
        """Return the place of a page's first model; InvalidArgument for a bad page token."""
        if not page_token:
            return 0
        edition, _, start = page_token.partition("-")
        places = map(str, range(1, models))
        if edition == self._registry.edition and start in places:
            return int(start)
        raise InvalidArgument(
            "the page_token is none of this daemon's, or models were loaded or unloaded since; "
            "begin again with the first page",
            field="page_token",
        )

    async def LoadModel(self, request: LoadModelRequest, context: Context) -> LoadModelResponse:
        """Load a model in another thread, so that other calls are served meanwhile."""
        name = request.name
        if self._loading >= _MAX_LOADING:
            raise ResourceExhausted(
                f"{self._loading} models are being loaded; load this one when they are ready"
            )
        model = await in_own_thread(
            "load a model", partial(self._load, name), drop=lambda unused: unused.loop.stop()
        )
        try:
            self._registry.add(model)
        except AlreadyExists:
            await in_own_thread("unload a model", model.loop.stop)
            raise
        return LoadModelResponse(model=model_message(model))

    def _load(self, name: str) -> ServedModel:
        # Counted by threads, not by calls: a call may be cancelled while its file hangs.
        self._loading += 1
        try:
            return self._registry.load(name)
        finally:
            self._loading -= 1

    async def UnloadModel(
        self, request: UnloadModelRequest, context: Context
    ) -> UnloadModelResponse:
        """Unload a model, and end its sessions."""
        model = self._registry.remove(request.name)
        ended = self._sessions.end_all_of(model, Aborted(f"the model {model.name!r} was unloaded"))
        await in_own_thread("unload a model", model.loop.stop)
        return UnloadModelResponse(ended_session_count=ended)


def _is_full(view: int) -> bool:
    if view not in _FULL:
        raise InvalidArgument(f"view {view} is not known to this daemon", field="view")
    return _FULL[view]
