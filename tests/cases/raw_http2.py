"""HTTP/2 by hand: frames that no gRPC client sends, on a socket of one's own."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
SETTINGS, PING, GOAWAY = 4, 6, 7
_ACK = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a connection."""

    kind: int
    flags: int
    payload: bytes


class Connection:
    """A client's side of a connection, frame by frame."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        writer.write(_PREFACE)

    @classmethod
    @asynccontextmanager
    async def to(cls, address: str) -> AsyncIterator[Self]:
        host, _, port = address.rpartition(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        connection = cls(reader, writer)
        connection.send(SETTINGS, 0, b"")
        try:
            yield connection
        finally:
            writer.close()

    def send(self, kind: int, flags: int, payload: bytes) -> None:
        header = struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, 0)
        self._writer.write(header + payload)

    async def receive(self) -> Frame:
        header = await self._reader.readexactly(9)
        length = int.from_bytes(header[:3], "big")
        return Frame(header[3], header[4], await self._reader.readexactly(length))

    async def ping(self) -> Frame:
        """Send a ping; return its acknowledgement, or the daemon's goodbye."""
        self.send(PING, 0, b"12345678")
        while True:
            frame = await self.receive()
            if frame.kind == GOAWAY or (frame.kind == PING and frame.flags & _ACK):
                return frame
            if frame.kind == PING:  # the daemon's own
                self.send(PING, _ACK, frame.payload)
