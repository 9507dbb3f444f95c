"""A LitServe server that streams, in one of two ways.

    python -m tests.bench.litserve_server MODEL --threads 2 --batch 64 --fast-queue 1

A request is {"session": ..., "prompt": ..., "max_tokens": ...}; the answer is text over HTTP, a
character per piece.

`--batch 0` keeps sessions: a dictionary holds their states, and a request continues where the last
one of its session ended. LitServe streams one request after the other.

Otherwise requests that arrive together are one batch of the cell, as in Cellwire, so that the
comparison is about the way from there to the client. LitServe waits until a batch is full or
`batch_timeout` is over, and streams until the whole batch is finished; later requests wait for
that. This suits a load whose requests all begin together with prompts of one length, and keeps no
sessions.
"""

# Without postponed annotations: FastAPI reads those of decode_request and encode_response.
import argparse
import socket
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import litserve
import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from tests.bench.texts import VOCABULARY, symbols_of

_BATCH_TIMEOUT_S = 10.0  # as long as it takes until all have come: the batch begins when it is full
_POLL_S = 0.05

Prompts = list[tuple[list[int], int]]
Tokens = npt.NDArray[np.int64]
States = dict[str, npt.NDArray[np.float32]]


class _Api(litserve.LitAPI):  # type: ignore[misc]  # litserve has no types
    """The model, as LitServe asks for it."""

    def __init__(self, model: Path, threads: int, **options: float) -> None:
        super().__init__(stream=True, **options)
        self._model = model
        self._threads = threads
        self._symbols = symbols_of(VOCABULARY)

    def setup(self, _device: str) -> None:
        """Load the model, in the worker's process."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self._session = ort.InferenceSession(self._model, options, providers=providers)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._states = [name.removeprefix("next_") for name in self._outputs[1:]]
        self._random = np.random.default_rng()
        self._widths = {i.name: i.shape[1] for i in self._session.get_inputs() if i.shape[1:]}

    def _start(self, rows: int) -> States:
        return {name: np.zeros((rows, self._widths[name]), np.float32) for name in self._states}

    def _step(self, token: Tokens, state: States) -> tuple[npt.NDArray[np.float32], States]:
        logits, *states = self._session.run(self._outputs, {"token": token, **state})
        return logits, dict(zip(self._states, states, strict=True))

    def _drawn(self, logits: npt.NDArray[np.float32]) -> Tokens:
        cumulated = np.cumsum(np.exp(logits - logits.max(axis=1, keepdims=True)), axis=1)
        mark = self._random.random((len(logits), 1), np.float32) * cumulated[:, -1:]
        token: Tokens = (cumulated <= mark).sum(axis=1)
        return token

    def _tokens(self, prompt: str) -> list[int]:
        return [self._symbols.index(symbol) for symbol in prompt]

    def encode_response(self, output: Iterator[Any]) -> Any:  # noqa: ANN401  # see the top
        """Send the characters as they are."""
        yield from output


class SessionsApi(_Api):
    """Keeps the state of each session, and goes on with one at a time."""

    def setup(self, device: str) -> None:
        """Begin without sessions."""
        super().setup(device)
        self._sessions: dict[int, tuple[Tokens, States]] = {}

    def decode_request(self, request: dict[str, Any]) -> tuple[int, list[int], int]:
        """Return the session, the prompt's tokens, and how much to write."""
        return request["session"], self._tokens(request["prompt"]), request["max_tokens"]

    def predict(self, request: tuple[int, list[int], int]) -> Iterator[str]:
        """Yield a character at a time."""
        session, prompt, chars = request
        if session in self._sessions:
            token, state = self._sessions[session]
        else:
            state = self._start(1)
            for read in prompt[:-1]:
                _, state = self._step(np.array([read]), state)
            token = np.array(prompt[-1:])
        for _ in range(chars):
            logits, state = self._step(token, state)
            token = self._drawn(logits)
            yield self._symbols[token[0]]
        self._sessions[session] = token, state


class BatchApi(_Api):
    """Goes on with all requests of a batch at once."""

    def __init__(self, model: Path, threads: int, batch: int) -> None:
        super().__init__(model, threads, max_batch_size=batch, batch_timeout=_BATCH_TIMEOUT_S)

    def decode_request(self, request: dict[str, Any]) -> tuple[list[int], int]:
        """Return the prompt's tokens, and how much to write."""
        return self._tokens(request["prompt"]), request["max_tokens"]

    def batch(self, inputs: Prompts) -> Prompts:
        """Leave the requests in a list."""
        return inputs

    def predict(self, inputs: Prompts) -> Iterator[list[str]]:
        """Yield a character for each request, step by step."""
        state = self._start(len(inputs))
        prompts = np.array([tokens for tokens, _ in inputs])  # of one length, in this load
        for column in prompts.T[:-1]:
            _, state = self._step(column, state)
        token = prompts[:, -1]
        for _ in range(max(chars for _, chars in inputs)):
            logits, state = self._step(token, state)
            token = self._drawn(logits)
            yield [self._symbols[t] for t in token.tolist()]

    def unbatch(self, output: Iterator[list[str]]) -> Iterator[list[str]]:
        """Leave each step's characters together."""
        yield from output


def _say_when_ready(port: int) -> None:
    while True:
        try:
            with urlopen(f"http://127.0.0.1:{port}/health"):
                break
        except (URLError, ConnectionError):
            time.sleep(_POLL_S)
    sys.stderr.write(f"ready on 127.0.0.1:{port};\n")


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--fast-queue", type=int, default=0)
    options = parser.parse_args()
    api = (
        BatchApi(options.model, options.threads, options.batch)
        if options.batch
        else SessionsApi(options.model, options.threads)
    )
    server = litserve.LitServer(
        api, accelerator="cpu", timeout=False, fast_queue=bool(options.fast_queue)
    )
    chosen_port = _free_port()
    threading.Thread(target=_say_when_ready, args=(chosen_port,), daemon=True).start()
    server.run(host="127.0.0.1", port=chosen_port, generate_client_file=False, log_level="error")
