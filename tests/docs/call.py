"""One call to a daemon, of any kind, with its messages as JSON."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from google.protobuf import descriptor_pool, message_factory
from google.protobuf.json_format import MessageToDict, Parse
from grpc import aio

import cellwire.v1.generation_pb2
import cellwire.v1.sessions_pb2  # noqa: F401  # brings every service into the pool


class Call:
    """A call; on the wire, a unary one is a stream of one message each way."""

    def __init__(self, channel: aio.Channel, name: str) -> None:
        """Begin a call of `name`: service and method, of cellwire.v1 unless a package is given."""
        name = name if "." in name else f"cellwire.v1.{name}"
        pool: Any = descriptor_pool.Default()
        method = pool.FindMethodByName(name.replace("/", "."))
        answer: Any = message_factory.GetMessageClass(method.output_type)
        self._request = message_factory.GetMessageClass(method.input_type)
        self._unary = not method.client_streaming
        self._call: Any = channel.stream_stream(
            f"/{name}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=answer.FromString,
        )()
        self._ahead: Any = None

    async def send(self, text: str) -> None:
        """Send a message."""
        await self._call.write(Parse(text, self._request()))
        if self._unary:
            await self.half_close()

    async def half_close(self) -> None:
        """Half-close the call."""
        await self._call.done_writing()

    def abort_stream(self) -> None:
        """Break the call, as a client whose machine or connection fails."""
        self._call.cancel()

    async def receive(self, *, joined: bool) -> str | dict[str, Any]:
        """Return the next answer, or how the call ended.

        If `joined`, chunks in a row are one, and so are results that get better: the first.
        """
        answer = await self._read()
        if isinstance(answer, str):
            return answer
        while joined and _kind(answer) in {"chunk", "completing"}:
            self._ahead = await self._read()
            if _kind(self._ahead) != _kind(answer):
                break
            answer, self._ahead = _join(answer, self._ahead), None
        shown: dict[str, Any] = _ordered(MessageToDict(answer))
        return shown

    async def _read(self) -> Any:  # noqa: ANN401  # a message of whatever type, or the end
        answer, self._ahead = self._ahead, None
        if answer is None:
            with suppress(aio.AioRpcError):
                answer = await self._call.read()
        if answer is None or answer is aio.EOF:
            code, details = (await self._call.code()).name, await self._call.details()
            return f"end {code}: {details}" if details else f"end {code}"
        return answer


def _ordered(value: Any, name: str = "") -> Any:  # noqa: ANN401  # any value of JSON
    """Return a value with its only kind of map sorted: protobuf's order of a map is random."""
    if isinstance(value, dict):
        members = sorted(value.items()) if name == "metadata" else value.items()
        return {key: _ordered(member, key) for key, member in members}
    return [_ordered(item) for item in value] if isinstance(value, list) else value


def _kind(answer: Any) -> str | None:  # noqa: ANN401
    return answer.WhichOneof("answer") if hasattr(answer, "chunk") else None


def _join(first: Any, then: Any) -> Any:  # noqa: ANN401
    if _kind(first) == "chunk":
        offset, text = first.chunk.offset, first.chunk.text + then.chunk.text
        first.chunk.MergeFrom(then.chunk)
        first.chunk.offset, first.chunk.text = offset, text
    return first
