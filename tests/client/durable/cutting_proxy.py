"""A TCP proxy that cuts its connections after some bytes, anywhere in what they carry."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress


class CuttingProxy:
    """Passes bytes on to `target`, HOST:PORT, until a connection has had as many as were drawn."""

    def __init__(self, target: str, draw: Callable[[], int]) -> None:
        self.cuts = 0
        self._host, _, self._port = target.rpartition(":")
        self._draw = draw
        self._passing: set[asyncio.Task[None]] = set()

    async def start(self) -> str:
        """Listen; return the address."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return f"127.0.0.1:{port}"

    def move(self, target: str) -> None:
        """Cut all connections; pass those that follow on to another target."""
        self._host, _, self._port = target.rpartition(":")
        for task in self._passing:
            task.cancel()

    async def stop(self) -> None:
        self._server.close()
        for task in self._passing:
            task.cancel()
        await asyncio.gather(*self._passing, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._passing.add(task)
        there, back = await asyncio.open_connection(self._host, int(self._port))
        connection = _Connection(self._draw())
        both = (connection.copy(reader, back), connection.copy(there, writer))
        copies = [asyncio.create_task(one) for one in both]
        try:
            await asyncio.wait(copies, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self.cuts += connection.left <= 0
            for copy in copies:
                copy.cancel()
            for end in (writer, back):
                end.transport.abort()
            self._passing.discard(task)


class _Connection:
    def __init__(self, left: int) -> None:
        self.left = left

    async def copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Copy to the end, or to the byte at which it is cut."""
        with suppress(ConnectionError):
            while self.left > 0 and (data := await reader.read(2**16)):
                writer.write(data[: self.left])
                self.left -= len(data)
                await writer.drain()
