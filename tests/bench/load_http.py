"""The load for a server that streams plain text over HTTP: load.py's counterpart.

    python -m tests.bench.load_http ADDRESS --sessions 64 --turn-chars 64 --warm-up-s 1 --seconds 3

Each session has a connection and requests one turn after the other, or with `--turn-chars 0` a
single one without end. The body arrives in HTTP chunks of one character. To be cheap, the load
counts bytes instead of parsing, and divides by the length of a chunk.
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
from tests.bench.load import ENDLESS_TOKENS, Load
from tests.bench.texts import text_of

_CHUNK_BYTES = len(b"1\r\nx\r\n")
_END = b"0\r\n\r\n"  # of a body


def _request(session: int, turn_chars: int) -> bytes:
    chars = turn_chars or ENDLESS_TOKENS
    body = json.dumps({"session": session, "prompt": text_of(4), "max_tokens": chars}).encode()
    return (
        b"POST /predict HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
    )


def measured(
    address: str, sessions: int, warm_up_s: float, seconds: float, turn_chars: int = 0
) -> Load:
    """Put a load on a server, in another process."""
    options: list[object] = [address, "--sessions", sessions, "--turn-chars", turn_chars]
    options += ["--warm-up-s", warm_up_s, "--seconds", seconds]
    return Load(**told_by(module("load_http", *options)))


class _Stream(asyncio.Protocol):
    """One session."""

    def __init__(self, request: bytes) -> None:
        self.bytes = 0  # of bodies
        self.begun: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._request = request
        self._head = b""
        self._in_body = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        if not self._in_body:
            self._head += data
            head, blank, data = self._head.partition(b"\r\n\r\n")
            if not blank:
                return
            if b" 200 " not in head[:16] or b"chunked" not in head.lower():
                self.begun.set_exception(RuntimeError(head.decode()))
                return
            self._in_body, self._head = True, b""
        if data and not self.begun.done():
            self.begun.set_result(None)
        self.bytes += len(data)
        if data.endswith(_END):
            self.bytes -= len(_END)
            self._in_body = False
            self._transport.write(self._request)


def _itself(stream: _Stream) -> _Stream:
    return stream


async def _generate(
    address: str, sessions: int, turn_chars: int, warm_up_s: float, seconds: float
) -> Load:
    host, _, port = address.partition(":")
    loop = asyncio.get_running_loop()
    streams = [_Stream(_request(number, turn_chars)) for number in range(sessions)]
    for stream in streams:
        await loop.create_connection(partial(_itself, stream), host, int(port))
    await asyncio.gather(*(stream.begun for stream in streams))
    await asyncio.sleep(warm_up_s)
    before, start, cpu_s = sum(s.bytes for s in streams), time.monotonic(), time.process_time()
    await asyncio.sleep(seconds)
    passed_s = time.monotonic() - start
    tokens_per_s = (sum(s.bytes for s in streams) - before) / _CHUNK_BYTES / passed_s
    return Load(tokens_per_s, tokens_per_s, (time.process_time() - cpu_s) / passed_s)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--turn-chars", type=int, default=0)
    parser.add_argument("--warm-up-s", type=float, default=0)
    parser.add_argument("--seconds", type=float, default=1)
    given = parser.parse_args()
    result = asyncio.run(
        _generate(given.address, given.sessions, given.turn_chars, given.warm_up_s, given.seconds)
    )
    sys.stdout.write(json.dumps(asdict(result)))
