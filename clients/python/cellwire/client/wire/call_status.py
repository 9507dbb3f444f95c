"""The status of a streaming call."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc
import grpc.aio

from cellwire.client.errors import CellwireError
from cellwire.client.wire.status import error_of_call

_Value = TypeVar("_Value")


class CallStatus:
    """Keeps the first status that a call ends with.

    A write that fails because the call has ended replaces the daemon's status by an INTERNAL that
    comes from grpc.aio (grpc/grpc#36066), so later ones are ignored.
    """

    def __init__(self, call: grpc.aio.Call) -> None:
        self._error: CellwireError | None = None
        call.add_done_callback(self._keep)

    def error(self) -> CellwireError:
        """Return the error for the status of a call that has failed."""
        return self._error or error_of_call(grpc.StatusCode.UNKNOWN, "", ())

    def _keep(self, call: grpc.aio.Call) -> None:
        if self._error is None:
            self._error = error_of_call(
                _result(call.code()),
                _result(call.details()) or "",
                _result(call.trailing_metadata()) or (),
            )


def _result(coroutine: Coroutine[Any, Any, _Value]) -> _Value:
    """Return the result of a coroutine that does not wait: that of a call that has ended."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: _Value = end.value
        return value
    raise RuntimeError("the call has not ended")
