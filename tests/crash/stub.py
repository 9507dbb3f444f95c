"""The type of a stub on a channel of grpc.aio, which exists in the stub files alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cellwire.v1.generation_pb2_grpc import GenerationServiceAsyncStub as Stub
else:
    from cellwire.v1.generation_pb2_grpc import GenerationServiceStub as Stub

__all__ = ["Stub"]
