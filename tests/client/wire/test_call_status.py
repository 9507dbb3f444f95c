from __future__ import annotations

from collections.abc import Callable
from typing import cast

import grpc
import grpc.aio

from cellwire.client import Aborted, CellwireError
from cellwire.client.wire.call_status import Ending


class Call:
    """A call that gets one status after the other."""

    def __init__(self) -> None:
        self._callbacks: list[Callable[[Call], None]] = []
        self._status = (grpc.StatusCode.OK, "")

    def add_done_callback(self, callback: Callable[[Call], None]) -> None:
        self._callbacks.append(callback)

    def end(self, code: grpc.StatusCode, details: str) -> None:
        self._status = (code, details)
        for callback in self._callbacks:
            callback(self)

    async def code(self) -> grpc.StatusCode:
        return self._status[0]

    async def details(self) -> str:
        return self._status[1]


def test_a_failed_write_does_not_hide_what_ended_the_call() -> None:
    call = Call()
    ending = Ending(cast("grpc.aio.Call", call))
    call.end(grpc.StatusCode.ABORTED, "the session was taken over")
    call.end(grpc.StatusCode.INTERNAL, "Internal error from Core")
    error = ending.error()
    assert isinstance(error, Aborted)
    assert error.message == "the session was taken over"


def test_a_call_that_says_nothing_has_an_unknown_status() -> None:
    error = Ending(cast("grpc.aio.Call", Call())).error()
    assert (type(error), error.code) == (CellwireError, grpc.StatusCode.UNKNOWN)
