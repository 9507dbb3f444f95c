"""One session over the wire, with the generated stubs alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from queue import SimpleQueue

import grpc

from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub


class Wire:
    """A stream that a session was opened on, or attached to."""

    def __init__(self, channel: grpc.Channel, first: StreamSessionRequest) -> None:
        self._requests: SimpleQueue[StreamSessionRequest | None] = SimpleQueue()
        self._answers = GenerationServiceStub(channel).StreamSession(iter(self._requests.get, None))
        self.first = self.ask(first)

    def send(self, request: StreamSessionRequest) -> None:
        """Send an operation, and wait for nothing."""
        self._requests.put(request)

    def answer(self) -> StreamSessionResponse:
        """Wait for the next answer."""
        answer = next(self._answers)
        assert isinstance(answer, StreamSessionResponse)
        return answer

    def ask(self, request: StreamSessionRequest) -> StreamSessionResponse:
        """Send an operation and wait for its answer."""
        self.send(request)
        return self.answer()

    def end(self) -> None:
        """Send nothing more, and wait until the daemon has ended the stream."""
        self._requests.put(None)
        for _ in self._answers:
            pass


@contextmanager
def opened(address: str, first: StreamSessionRequest) -> Iterator[Wire]:
    """Open a session on a new channel."""
    with grpc.insecure_channel(address) as channel:
        wire = Wire(channel, first)
        try:
            yield wire
        finally:
            wire.end()
