"""A gRPC server without batching, as one writes it in an afternoon.

One call of the cell per client and step, and a dictionary with each client's state.

    python -m tests.bench.naive_grpc MODEL --cell onnx --threads 1 --workers 2

It implements what the load needs of Cellwire's contract (open, append, generate, chunks of one
token), so that both servers are under the same load. Without workers a step runs in the event loop;
with workers, in a pool of that many threads (ONNX Runtime and PyTorch release the interpreter
lock). The benchmark tries both and takes the faster.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from grpc import aio
from tests.bench.naive_cell import CELLS, Cell, Logits
from tests.bench.texts import VOCABULARY, symbols_of

from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest, StreamSessionResponse
from cellwire.v1.generation_pb2_grpc import (
    GenerationServiceServicer,
    add_GenerationServiceServicer_to_server,
)

T = TypeVar("T")


class NaiveService(GenerationServiceServicer):
    """Serves each stream for itself."""

    def __init__(self, cell: Cell, workers: int) -> None:
        self._cell = cell
        self._symbols = symbols_of(VOCABULARY)
        self._pool = ThreadPoolExecutor(workers) if workers else None
        self._states: dict[int, Any] = {}

    async def StreamSession(  # noqa: N802  # the contract's name
        self, request_iterator: AsyncIterator[StreamSessionRequest], _context: object
    ) -> AsyncIterator[StreamSessionResponse]:
        client = id(request_iterator)
        self._states[client] = self._cell.initial()
        random, offset, token = np.random.default_rng(), 0, 0
        try:
            async for request in request_iterator:
                if request.HasField("open"):
                    random = np.random.default_rng(request.open.seed)
                    yield StreamSessionResponse(opened=operations_pb2.Opened())
                elif request.HasField("append"):
                    for symbol in request.append.text:
                        if offset:  # the last token of all stays unread, to generate from
                            await self._step(client, token)
                        token = self._symbols.index(symbol)
                        offset += 1
                    yield StreamSessionResponse(appended=operations_pb2.Appended(offset=offset))
                elif request.HasField("generate"):
                    for _ in range(request.generate.max_tokens):
                        logits = await self._step(client, token)
                        token = _drawn(logits, random.random())
                        chunk = operations_pb2.Chunk(
                            offset=offset, text=self._symbols[token], end_offset=offset + 1
                        )
                        offset += 1
                        yield StreamSessionResponse(chunk=chunk)
                    yield StreamSessionResponse(finished=operations_pb2.Finished(offset=offset))
        finally:
            del self._states[client]

    async def _step(self, client: int, token: int) -> Logits:
        """Run the cell for one client."""
        logits, self._states[client] = await self._carried_out(
            lambda: self._cell.step(token, self._states[client])
        )
        return logits

    async def _carried_out(self, work: Callable[[], T]) -> T:
        if self._pool is None:
            return work()
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)


def _drawn(logits: Logits, uniform: float) -> int:
    """Draw from a distribution at temperature 1."""
    cumulated = np.cumsum(np.exp(logits - logits.max()))
    return int(np.searchsorted(cumulated, uniform * cumulated[-1], side="right"))


async def _serve(model: Path, cell: str, threads: int, workers: int) -> None:
    server = aio.server()
    # The load calls nothing else.
    service = NaiveService(CELLS[cell](model, threads), workers)  # type: ignore[abstract]
    add_GenerationServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    sys.stderr.write(f"ready on 127.0.0.1:{port};\n")
    await server.wait_for_termination()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--cell", choices=CELLS, required=True)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--workers", type=int, default=0)
    options = parser.parse_args()
    asyncio.run(_serve(options.model, options.cell, options.threads, options.workers))
