"""A Generate call whose daemon breaks the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, cast

import pytest

from cellwire.client import Internal
from cellwire.client.wire.call import CallSource
from cellwire.v1.generation_pb2 import GenerateRequest, GenerateResponse
from cellwire.v1.operations_pb2 import Chunk

if TYPE_CHECKING:
    from cellwire.v1.generation_pb2_grpc import GenerationServiceAsyncStub


class Stub:
    """Answers every Generate with these responses."""

    def __init__(self, *responses: GenerateResponse) -> None:
        self._responses = responses

    async def Generate(  # noqa: N802  # the contract's name
        self, _request: GenerateRequest
    ) -> AsyncIterator[GenerateResponse]:
        for response in self._responses:
            yield response


def source(*responses: GenerateResponse) -> CallSource:
    return CallSource(cast("GenerationServiceAsyncStub", Stub(*responses)), GenerateRequest())


async def test_a_call_without_finished_is_an_error() -> None:
    pieces = source(GenerateResponse(chunk=Chunk(offset=1, text="b", end_offset=2)))
    await pieces.read()
    with pytest.raises(Internal, match="without finished"):
        await pieces.read()


async def test_an_unknown_answer_is_an_error() -> None:
    with pytest.raises(Internal, match="does not know"):
        await source(GenerateResponse()).read()
