"""A refusal of the fake daemon: a status with details."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import grpc
import grpc.aio
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.message import Message
from google.rpc.error_details_pb2 import ErrorInfo
from google.rpc.status_pb2 import Status

if TYPE_CHECKING:
    _Context = grpc.aio.ServicerContext[Any, Any]


class Refused(Exception):  # a word of the contract's comments
    def __init__(self, code: grpc.StatusCode, message: str, *details: Message) -> None:
        super().__init__(message)
        self.code = code
        self.status = Status(code=code.value[0], message=message)
        info = ErrorInfo(reason=code.name, domain="cellwire")
        for detail in (
            details if any(isinstance(d, ErrorInfo) for d in details) else (info, *details)
        ):
            packed = AnyMessage()
            packed.Pack(detail)
            self.status.details.append(packed)

    async def abort(self, context: _Context) -> NoReturn:
        """End a call with this status; details travel in its trailing metadata."""
        trailer = (("grpc-status-details-bin", self.status.SerializeToString()),)
        await context.abort(self.code, str(self), trailer)
        raise AssertionError
