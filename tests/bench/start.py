"""start: from `cellwire serve` to the first token; the built-in model, on a warm file cache.

The clock starts when the process is spawned. The daemon is ready when its ready line can be read. A
client process that runs already then gets the address, connects, opens a session, appends and
generates. The clock stops when the client has the first token.

start.ready_s, start.first_token_s   median of several starts
start.rss_mb                         of the daemon when it is idle again; in 10^6 bytes
"""

from __future__ import annotations

import subprocess
import sys
import time

from tests.bench.child import ROOT, daemon, module, resident_bytes, serving
from tests.bench.pace import figure
from tests.bench.setting import Setting
from tests.bench.wire import opened

from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest

FIGURES = ("start.ready_s", "start.first_token_s", "start.rss_mb")

_SETTLE_S = 0.5


def run(setting: Setting) -> dict[str, float]:
    """Start daemons, one after the other."""
    rounds: dict[str, list[float]] = {name: [] for name in FIGURES}
    for number in range(setting.effort.starts):
        setting.say(f"start: {number + 1} of {setting.effort.starts}")
        for name, value in zip(FIGURES, _start(), strict=True):
            rounds[name].append(value)
    return {key: value for name in FIGURES for key, value in figure(name, rounds[name]).items()}


def _start() -> tuple[float, float, float]:
    """Return when a daemon was ready, when the first character came, and its size then."""
    with subprocess.Popen(
        module("start"), cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        client.stdout.readline()  # it runs
        start_s = time.monotonic()
        with serving(daemon()) as server:
            client.stdin.write(f"{server.address}\n")
            client.stdin.flush()
            first_token_s = float(client.stdout.readline()) - start_s
            time.sleep(_SETTLE_S)
            return server.ready_s, first_token_s, resident_bytes(server.process.pid) / 1e6


def _first_token() -> None:
    """Say when the first character came, of a daemon whose address comes on stdin."""
    sys.stdout.write("running\n")
    sys.stdout.flush()
    address = sys.stdin.readline().strip()
    with opened(address, StreamSessionRequest(open=operations_pb2.Open())) as wire:
        wire.send(StreamSessionRequest(append=operations_pb2.Append(text="It is a truth")))
        wire.send(StreamSessionRequest(generate=operations_pb2.Generate(max_tokens=1)))
        while not wire.answer().HasField("chunk"):
            pass
        now_s = time.monotonic()
    sys.stdout.write(f"{now_s}\n")


if __name__ == "__main__":
    _first_token()
