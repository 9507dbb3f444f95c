"""ModelsService: which models are served."""

from __future__ import annotations

import asyncio
from typing import Any

from grpc import aio

from cellwire.server.errors import Aborted
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.rpc.models import model_message
from cellwire.server.rpc.status import with_status
from cellwire.v1.models_pb2 import (
    ListModelsRequest,
    ListModelsResponse,
    LoadModelRequest,
    LoadModelResponse,
    UnloadModelRequest,
    UnloadModelResponse,
)
from cellwire.v1.models_pb2_grpc import ModelsServiceServicer

Context = aio.ServicerContext[Any, Any]


class ModelsService(ModelsServiceServicer):
    """Tells what is in a registry, and changes it."""

    def __init__(self, sessions: SessionDirectory) -> None:
        self._sessions = sessions
        self._registry = sessions.registry

    async def ListModels(
        self,
        request: ListModelsRequest,  # it asks for everything
        context: Context,
    ) -> ListModelsResponse:
        """Return every model, the default first."""
        return ListModelsResponse(models=[model_message(model) for model in self._registry])

    @with_status
    async def LoadModel(self, request: LoadModelRequest, context: Context) -> LoadModelResponse:
        """Serve another model."""
        # It takes a while; other calls go on meanwhile.
        model = await asyncio.to_thread(self._registry.load, request.name)
        self._registry.add(model)
        return LoadModelResponse(model=model_message(model))

    @with_status
    async def UnloadModel(
        self, request: UnloadModelRequest, context: Context
    ) -> UnloadModelResponse:
        """Serve a model no longer, and end its sessions."""
        model = self._registry.remove(request.name)
        ended = self._sessions.end_all_of(model, Aborted(f"the model {model.name!r} was unloaded"))
        await asyncio.to_thread(model.loop.stop)
        return UnloadModelResponse(sessions=ended)
