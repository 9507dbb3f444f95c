"""The load: sessions that generate without end, in a separate process, over a socket.

The load takes its processor time from the server's machine, so it must be cheap. All streams share
one channel. Chunks are counted and kept as bytes; only the last one of each session is parsed, for
its offset.

    python -m tests.bench.load ADDRESS --sessions 64 --warm-up-s 1 --seconds 3
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from grpc import aio
from tests.bench.child import module, told_by
from tests.bench.durability import DURABILITIES, NONE, open_request
from tests.bench.texts import text_of

from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse

METHOD = "/cellwire.v1.GenerationService/StreamSession"
ENDLESS_TOKENS = 1_000_000

SESSION_ID_KEY = "x-session-id"

_OPEN_AT_ONCE = 64

# How a message begins that is a chunk and whose operation_id is 0. A message that begins in another
# way is parsed, so that nothing depends on it.
_CHUNK = bytes([StreamSessionResponse.CHUNK_FIELD_NUMBER << 3 | 2])


@dataclass(frozen=True, slots=True)
class Load:
    """What went through."""

    tokens_per_s: float
    messages_per_s: float
    client_cores: float  # how much of the machine the load itself took


def measured(  # one for each option of a load
    address: str,
    sessions: int,
    warm_up_s: float,
    seconds: float,
    durability: str = NONE,
    *,
    proxied: bool = False,
) -> Load:
    """Put a load on a server, or on a proxy before some, in another process."""
    options = command(address, sessions, warm_up_s, seconds, durability=durability, proxied=proxied)
    return Load(**told_by(options))


def command(
    address: str,
    sessions: int,
    warm_up_s: float = 0,
    seconds: float = 0,
    *,
    arrivals: str = "",
    repetition_penalty: float = 1,
    top_alternatives: int = 0,
    durability: str = NONE,
    proxied: bool = False,
) -> list[str]:
    """Return the command; with no seconds to measure, it generates until its stdin ends."""
    options: list[object] = [address, "--sessions", sessions, "--warm-up-s", warm_up_s]
    options += ["--seconds", seconds, "--arrivals", arrivals]
    options += ["--repetition-penalty", repetition_penalty]
    options += ["--top-alternatives", top_alternatives, "--durability", durability]
    return module("load", *options, *(["--proxied"] if proxied else []))


class _Stream:
    """One session."""

    def __init__(
        self,
        channel: aio.Channel,
        open_request: operations_pb2.Open,
        generate: StreamSessionRequest,
        *,
        noting: bool,
    ) -> None:
        call: aio.StreamStreamMultiCallable[StreamSessionRequest, bytes] = channel.stream_stream(
            METHOD, StreamSessionRequest.SerializeToString
        )
        # By it, a proxy finds the session's daemon.
        self._call = call(metadata=aio.Metadata((SESSION_ID_KEY, open_request.session_id)))
        self._open = open_request
        self._generate = generate
        self._last = b""
        self._noting = noting
        self.messages = 0
        self.begun = asyncio.Event()
        self.arrivals_s: list[float] = []

    @property
    def offset(self) -> int:
        """How far the text has come."""
        return StreamSessionResponse.FromString(self._last).chunk.end_offset

    async def open(self, turn: asyncio.Semaphore) -> None:
        """Open the session and give it a few characters to go on from."""
        async with turn:
            append = operations_pb2.Append(text=text_of(4))
            await self._call.write(StreamSessionRequest(open=self._open))
            await self._call.write(StreamSessionRequest(append=append))
            for _ in range(2):
                await self._call.read()

    async def run(self) -> None:
        """Generate, and read until cancelled."""
        await self._call.write(self._generate)
        while isinstance(answer := await self._call.read(), bytes):
            if answer[:1] == _CHUNK:
                self._last = answer
                self.messages += 1
                if self._noting:
                    self.arrivals_s.append(time.monotonic())
                if self.messages == 1:
                    self.begun.set()
            else:
                await self._other(StreamSessionResponse.FromString(answer))
        raise RuntimeError(f"a session ended: {await self._call.details()}")

    async def _other(self, answer: StreamSessionResponse) -> None:
        if answer.HasField("finished"):
            await self._call.write(self._generate)
        elif answer.HasField("rejected"):
            raise RuntimeError(answer.rejected.status.message)


def _generate_request(options: argparse.Namespace) -> StreamSessionRequest:
    """Return an endless generate with the sampling that the options ask for."""
    generate = operations_pb2.Generate(
        max_tokens=ENDLESS_TOKENS, top_alternatives=options.top_alternatives
    )
    generate.sampling.repetition_penalty = options.repetition_penalty
    return StreamSessionRequest(generate=generate)


async def _generate(options: argparse.Namespace) -> None:
    """Open all sessions, then let all of them generate."""
    async with aio.insecure_channel(options.address) as channel:
        generate, noting = _generate_request(options), bool(options.arrivals)
        opens = [
            open_request(options.durability, seed, own_id=options.proxied)
            for seed in range(options.sessions)
        ]
        streams = [_Stream(channel, request, generate, noting=noting) for request in opens]
        turn = asyncio.Semaphore(_OPEN_AT_ONCE)
        await asyncio.gather(*(stream.open(turn) for stream in streams))
        running = asyncio.gather(*(stream.run() for stream in streams))
        watched = asyncio.create_task(_watch(options, streams))
        running.add_done_callback(lambda _: watched.cancel())  # if something goes wrong
        try:
            await watched
        finally:
            running.cancel()
            with suppress(asyncio.CancelledError):
                await running
    if options.arrivals:
        _save_arrivals(Path(options.arrivals), streams)


async def _watch(options: argparse.Namespace, streams: list[_Stream]) -> None:
    """Say what goes through, or that all generate; then wait for the end of stdin."""
    for stream in streams:
        await stream.begun.wait()
    if options.seconds:
        await asyncio.sleep(options.warm_up_s)
        load = await _measure(streams, options.seconds)
        sys.stdout.write(json.dumps(asdict(load)))
    else:
        sys.stdout.write("under way\n")
        sys.stdout.flush()
        await asyncio.to_thread(sys.stdin.read)


async def _measure(streams: list[_Stream], seconds: float) -> Load:
    """Count between two marks."""
    first, second = await _mark(streams, 0), await _mark(streams, seconds)
    (start, *before), (end, *after) = first, second
    chars, messages, cpu_s = (b - a for a, b in zip(before, after, strict=True))
    passed_s = end - start
    return Load(chars / passed_s, messages / passed_s, cpu_s / passed_s)


async def _mark(streams: list[_Stream], after_s: float) -> tuple[float, int, int, float]:
    """Return the time, the characters and messages so far, and the processor time they took."""
    await asyncio.sleep(after_s)
    now, cpu_s = time.monotonic(), time.process_time()
    messages = sum(stream.messages for stream in streams)
    return now, sum(stream.offset for stream in streams), messages, cpu_s


def _save_arrivals(path: Path, streams: list[_Stream]) -> None:
    """Write when messages came, a row each: its session, and the monotonic clock's seconds."""
    rows = [(index, at) for index, stream in enumerate(streams) for at in stream.arrivals_s]
    np.save(path, np.array(rows, np.float64))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("address")
    parser.add_argument("--sessions", type=int, default=1)
    parser.add_argument("--warm-up-s", type=float, default=0)
    parser.add_argument("--seconds", type=float, default=0)
    parser.add_argument("--arrivals", default="")
    parser.add_argument("--repetition-penalty", type=float, default=1)
    parser.add_argument("--top-alternatives", type=int, default=0)
    parser.add_argument("--proxied", action="store_true")
    parser.add_argument("--durability", choices=DURABILITIES, default=NONE)
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(_generate(_options()))
