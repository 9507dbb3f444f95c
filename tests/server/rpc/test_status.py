"""What the status of an error tells a program, and that it always fits into headers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import grpc
import pytest
from google.rpc.error_details_pb2 import BadRequest, ErrorInfo, RetryInfo
from google.rpc.status_pb2 import Status
from grpc import aio
from grpc_status import rpc_status
from tests.server.rpc.conftest import OpenStream

from cellwire.model_file import errors as model_file
from cellwire.server import errors
from cellwire.server.errors import (
    CellwireError,
    InvalidArgument,
    ResourceExhausted,
    StoreFailed,
    Unavailable,
    UnknownSymbol,
)
from cellwire.server.rpc.status import status_of
from cellwire.v1.generation_pb2 import ScoreRequest
from cellwire.v1.operations_pb2 import Score

METHODS = [
    "GenerationService/Score",
    "GenerationService/Generate",
    "ModelsService/GetModel",
    "ModelsService/ListModels",
    "SessionsService/GetSession",
]


def details_of(status: Status) -> dict[str, Any]:
    details = {}
    for packed in status.details:
        for kind in (BadRequest, ErrorInfo, RetryInfo):
            if packed.Is(kind.DESCRIPTOR):
                message = kind()
                packed.Unpack(message)
                details[kind.__name__] = message
    assert len(details) == len(status.details)
    return details


def every_error() -> list[type[CellwireError]]:
    found = [e for e in vars(errors).values() if isinstance(e, type)]
    return [e for e in found if issubclass(e, CellwireError) and e is not CellwireError]


@pytest.mark.parametrize("kind", every_error())
def test_every_error_has_a_status_with_a_reason(kind: type[CellwireError]) -> None:
    made: dict[type[CellwireError], Callable[[], CellwireError]] = {
        UnknownSymbol: lambda: UnknownSymbol(model_file.UnknownSymbol("ï", 2)),
        Unavailable: Unavailable,
    }
    status = status_of(made[kind]() if kind in made else kind("what was wrong"))
    info = details_of(status)["ErrorInfo"]
    assert status.code != grpc.StatusCode.UNKNOWN.value[0]
    assert info.domain == "cellwire"
    assert info.reason == info.reason.upper() != ""


def test_an_unknown_symbol_is_named() -> None:
    details = details_of(status_of(UnknownSymbol(model_file.UnknownSymbol("ï", 2))))
    assert dict(details["ErrorInfo"].metadata) == {"field": "text", "symbol": "ï", "offset": "2"}
    (violation,) = details["BadRequest"].field_violations
    assert (violation.field, violation.reason) == ("text", "UNKNOWN_SYMBOL")


def test_a_field_that_is_wrong_is_named() -> None:
    details = details_of(status_of(InvalidArgument("it is -1", field="page_size")))
    (violation,) = details["BadRequest"].field_violations
    assert (violation.field, violation.description) == ("page_size", "it is -1")
    assert "BadRequest" not in details_of(status_of(InvalidArgument("all of it")))


def test_what_may_succeed_later_says_when() -> None:
    for error in (ResourceExhausted("full"), Unavailable(), StoreFailed("it does not answer")):
        assert details_of(status_of(error))["RetryInfo"].retry_delay.seconds == 1


@pytest.mark.parametrize("character", ["a", "é", "世", "\U0001f600"])
def test_no_status_is_too_long_for_headers(character: str) -> None:
    long = UnknownSymbol(model_file.UnknownSymbol(character * 100_000, 0))
    for error in (long, InvalidArgument(character * 100_000, field="text")):
        status = status_of(error)
        percent_encoded = 3 * len(status.message.encode())
        assert percent_encoded + 4 * len(status.SerializeToString()) / 3 < 15_000
        assert status.message.startswith(str(error)[:20])


async def test_details_are_in_a_rejection_and_in_the_trailers(
    open_stream: OpenStream, channel: aio.Channel
) -> None:
    stream = open_stream()
    await stream.open()
    rejected = (await stream.ask(append={"text": "naïve"})).rejected
    assert details_of(rejected.status)["ErrorInfo"].metadata["offset"] == "2"
    call: Any = channel.unary_unary(
        "/cellwire.v1.GenerationService/Score",
        request_serializer=ScoreRequest.SerializeToString,
    )(ScoreRequest(score=Score(text="naïve")))
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    status = rpc_status.from_call(cast("grpc.Call", caught.value))
    assert status is not None
    assert status.details == rejected.status.details


@pytest.mark.parametrize("method", METHODS)
async def test_bytes_that_are_no_message_are_invalid(channel: aio.Channel, method: str) -> None:
    call: Any = channel.unary_unary(f"/cellwire.v1.{method}")
    with pytest.raises(aio.AioRpcError) as caught:
        await call(b"\xff")
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_method_that_does_not_exist_is_unimplemented(channel: aio.Channel) -> None:
    call: Any = channel.unary_unary("/cellwire.v1.GenerationService/Translate")
    with pytest.raises(aio.AioRpcError) as caught:
        await call(b"")
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
