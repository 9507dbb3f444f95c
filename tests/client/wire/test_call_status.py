"""The first status of a call counts, with its details."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import grpc
import grpc.aio
from google.protobuf.duration_pb2 import Duration
from google.rpc.error_details_pb2 import RetryInfo
from tests.client.fake.refused import Refused

from cellwire.client import Aborted, CellwireError, ResourceExhausted
from cellwire.client.wire.call_status import CallStatus


class Call:
    """A call that gets one status after the other."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Call], None]] = []
        self._status = (grpc.StatusCode.OK, "")
        self._trailer: tuple[tuple[str, bytes], ...] = ()

    def add_done_callback(self, callback: Callable[[Call], None]) -> None:
        self._callbacks.append(callback)

    def end(self, code: grpc.StatusCode, details: str, status: bytes = b"") -> None:
        self._status = (code, details)
        self._trailer = (("grpc-status-details-bin", status),)
        for callback in self._callbacks:
            callback(self)

    async def code(self) -> grpc.StatusCode:
        return self._status[0]

    async def details(self) -> str:
        return self._status[1]

    async def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        return self._trailer


def test_a_failed_write_does_not_hide_what_ended_the_call() -> None:
    call = Call()
    status = CallStatus(cast("grpc.aio.Call", call))
    call.end(grpc.StatusCode.ABORTED, "the session was taken over")
    call.end(grpc.StatusCode.INTERNAL, "Internal error from Core")
    error = status.error()
    assert isinstance(error, Aborted)
    assert error.message == "the session was taken over"


def test_a_status_keeps_its_details() -> None:
    call = Call()
    status = CallStatus(cast("grpc.aio.Call", call))
    retry = RetryInfo(retry_delay=Duration(seconds=1))
    refusal = Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "full", retry)
    call.end(refusal.code, "full", refusal.status.SerializeToString())
    error = status.error()
    assert isinstance(error, ResourceExhausted)
    assert error.retry_delay_s == 1


def test_a_call_without_a_status_has_an_unknown_one() -> None:
    error = CallStatus(cast("grpc.aio.Call", Call())).error()
    assert (type(error), error.code) == (CellwireError, grpc.StatusCode.UNKNOWN)
