"""The load for a server that streams plain text over HTTP: load.py's counterpart.

    python -m tests.bench.load_http ADDRESS --sessions 64 --warm-up-s 1 --seconds 3

Each session is a request on a connection of its own. The body comes in HTTP chunks of `1\r\nx\r\n`;
so that the load costs little, bytes are counted, not parsed, and divided by the length of one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from dataclasses import asdict
from functools import partial

from tests.bench.child import module, told_by
from tests.bench.load import ENDLESS_CHARS, Load
from tests.bench.models import text_of

_CHUNK_BYTES = len(b"1\r\nx\r\n")
_BODY = json.dumps({"prompt": text_of(4), "max_chars": ENDLESS_CHARS}).encode()
_REQUEST = (
    b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%s" % (len(_BODY), _BODY)
)


def measured(address: str, sessions: int, warm_up_s: float, seconds: float) -> Load:
    """Put a load on a server, in a process of its own."""
    options: list[object] = [address, "--sessions", sessions, "--warm-up-s", warm_up_s]
    return Load(**told_by(module("load_http", *options, "--seconds", seconds)))


class _Stream(asyncio.Protocol):
    """One session."""

    def __init__(self) -> None:
        self.bytes = 0
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        transport.write(_REQUEST)

    def data_received(self, data: bytes) -> None:
        if self.begun.done():
            self.bytes += len(data)
            return
        self._head += data
        head, blank, body = self._head.partition(b"\r\n\r\n")
        if b" 200 " not in head[:16] or (blank and b"chunked" not in head.lower()):
            self.begun.set_exception(RuntimeError(head.decode()))
        elif body:
            self.begun.set_result(None)


def _itself(stream: _Stream) -> _Stream:
    return stream


async def _generate(address: str, sessions: int, warm_up_s: float, seconds: float) -> Load:
    host, _, port = address.partition(":")
    loop = asyncio.get_running_loop()
    streams = [_Stream() for _ in range(sessions)]
    for stream in streams:
        await loop.create_connection(partial(_itself, stream), host, int(port))
    await asyncio.gather(*(stream.begun for stream in streams))
    await asyncio.sleep(warm_up_s)
    before, start, cpu_s = sum(s.bytes for s in streams), time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    passed_s = time.monotonic() - start
    chars_per_s = (sum(s.bytes for s in streams) - before) / _CHUNK_BYTES / passed_s
    return Load(chars_per_s, chars_per_s, (time.process_time() - cpu_s) / passed_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--warm-up-s", type=float, default=0)
    parser.add_argument("--seconds", type=float, default=1)
    given = parser.parse_args()
    result = asyncio.run(_generate(given.address, given.sessions, given.warm_up_s, given.seconds))
    sys.stdout.write(json.dumps(asdict(result)))
