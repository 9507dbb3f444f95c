"""ModelsService: which models are served."""

from __future__ import annotations

from grpc import aio

from cellwire.server.registry import Registry
from cellwire.server.rpc.convert import model_message
from cellwire.v1.models_pb2 import ListModelsRequest, ListModelsResponse
from cellwire.v1.models_pb2_grpc import ModelsServiceServicer


class ModelsService(ModelsServiceServicer):
    """Tells what is in a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def ListModels(  # noqa: N802  # the contract's name
        self,
        request: ListModelsRequest,  # noqa: ARG002  # it asks for everything
        context: aio.ServicerContext[ListModelsRequest, ListModelsResponse],  # noqa: ARG002
    ) -> ListModelsResponse:
        """Return every model, the default first."""
        return ListModelsResponse(models=[model_message(model) for model in self._registry])
