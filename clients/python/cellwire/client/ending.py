"""How a call has ended."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any, TypeVar

import grpc
import grpc.aio

from cellwire.client.errors import CellwireError, error_of

_Value = TypeVar("_Value")


class Ending:
    """Remembers the status that a call has ended with.

    A write that fails because the call has ended puts an INTERNAL of grpc.aio's own in the place of
    the daemon's status (grpc/grpc#36066); so the first counts.
    """

    def __init__(self, call: grpc.aio.Call) -> None:
        self._status: tuple[grpc.StatusCode, str] | None = None
        call.add_done_callback(self._note)

    def error(self) -> CellwireError:
        """Return the error that stands for the status of a call that has failed."""
        code, details = self._status or (grpc.StatusCode.UNKNOWN, "")
        return error_of(code.value[0], details)

    def _note(self, call: grpc.aio.Call) -> None:
        if self._status is None:
            self._status = (_at_once(call.code()), _at_once(call.details()) or "")


def _at_once(coroutine: Coroutine[Any, Any, _Value]) -> _Value:
    """Return what a coroutine returns that has nothing to wait for."""
    try:
        coroutine.send(None)
    except StopIteration as end:
        value: _Value = end.value
        return value
    raise RuntimeError("it has something to wait for")
