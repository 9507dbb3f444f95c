"""slots: operations that only move slots, over the wire; model M, default rewind window.

One client in this process, on one stream. Each operation is timed from sending it to its answer.
What it needs (the append before a rewind, the deletion of a fork) is outside the timing, and a few
empty round trips precede it. The kinds take turns.

The denominator is an empty round trip on the same stream: a cancel of an operation that does not
exist. It takes the way of any operation, to the engine's thread and back, is answered by
`rejected`, and touches neither text nor slots.

slots.<kind>_ms      p50 of fork, rewind by 1, rewind by 64, export, import, attach, and empty
slots.<kind>_ratio   over the empty round trip; slots.rewind_ratio is that of a rewind by 1

Export and import are unary calls, of a session of 100 tokens. Attach begins a new stream, to a
session that no stream is attached to, and ends with `attached`.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from time import perf_counter

import grpc
from tests.bench.child import daemon, serving
from tests.bench.setting import Setting
from tests.bench.texts import text_of
from tests.bench.wire import Wire

from cellwire.v1 import operations_pb2, sessions_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

SIZE = "M"
TEXT_TOKENS = 100
WINDOW = 64

KINDS = ("fork", "rewind", "rewind_64", "export", "import", "attach")
FIGURES = (
    *(f"slots.{kind}_ms" for kind in ("empty", *KINDS)),
    *(f"slots.{kind}_ratio" for kind in KINDS),
)

_SETTLING = 3

_OPEN = StreamSessionRequest(
    open=operations_pb2.Open(seed=1, on_disconnect=operations_pb2.OnDisconnect.ON_DISCONNECT_CANCEL)
)
_EMPTY = StreamSessionRequest(operation_id=2, cancel=operations_pb2.Cancel(operation_id=999))
_FORK = StreamSessionRequest(operation_id=1, fork=operations_pb2.Fork(seed=2))


def run(setting: Setting) -> dict[str, float]:
    """Time each kind of operation, in turns."""
    with (
        serving(daemon("--model", str(setting.models.path(SIZE)))) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        setting.say(f"slots: {setting.effort.repeats} of each operation")
        return _figures(_Operations(channel), setting.effort.repeats)


def _figures(operations: _Operations, repeats: int) -> dict[str, float]:
    kinds: dict[str, Callable[[], float]] = {
        "empty": operations.empty_s,
        "fork": operations.fork_s,
        "rewind": lambda: operations.rewind_s(1),
        "rewind_64": lambda: operations.rewind_s(WINDOW),
        "export": operations.export_s,
        "import": operations.import_s,
        "attach": operations.attach_s,
    }
    times_s: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(repeats):
        for kind, time_s in kinds.items():
            operations.settle()
            times_s[kind].append(time_s())
    p50_s = {kind: statistics.median(times) for kind, times in times_s.items()}
    return {
        **{f"slots.{kind}_ms": 1_000 * time_s for kind, time_s in p50_s.items()},
        **{f"slots.{kind}_ratio": p50_s[kind] / p50_s["empty"] for kind in KINDS},
    }


class _Operations:
    """Does each of them once and returns how long it took."""

    def __init__(self, channel: grpc.Channel) -> None:
        self._channel = channel
        self._sessions = SessionsServiceStub(channel)
        self._wire = Wire(channel, _OPEN)
        self._append(self._wire, TEXT_TOKENS)
        self._session_id = self._wire.first.opened.session_id
        self._snapshot = b""

    @staticmethod
    def _append(wire: Wire, tokens: int) -> None:
        append = operations_pb2.Append(text=text_of(tokens))
        wire.ask(StreamSessionRequest(operation_id=1, append=append))

    def _delete(self, session_id: str) -> None:
        self._sessions.DeleteSession(sessions_pb2.DeleteSessionRequest(session_id=session_id))

    def settle(self) -> None:
        """Let whatever was done before have its after-effects."""
        for _ in range(_SETTLING):
            self.empty_s()

    def empty_s(self) -> float:
        start = perf_counter()
        answer = self._wire.ask(_EMPTY)
        time_s = perf_counter() - start
        assert answer.HasField("rejected")
        return time_s

    def fork_s(self) -> float:
        start = perf_counter()
        answer = self._wire.ask(_FORK)
        time_s = perf_counter() - start
        self._delete(answer.forked.session_id)
        return time_s

    def rewind_s(self, tokens: int) -> float:
        self._append(self._wire, tokens)
        self.settle()
        rewind = operations_pb2.Rewind(tokens=tokens)
        start = perf_counter()
        answer = self._wire.ask(StreamSessionRequest(operation_id=1, rewind=rewind))
        time_s = perf_counter() - start
        assert answer.rewound.offset == TEXT_TOKENS, answer
        return time_s

    def export_s(self) -> float:
        request = sessions_pb2.ExportSessionRequest(session_id=self._session_id)
        start = perf_counter()
        self._snapshot = self._sessions.ExportSession(request).snapshot
        return perf_counter() - start

    def import_s(self) -> float:
        request = sessions_pb2.ImportSessionRequest(snapshot=self._snapshot)
        start = perf_counter()
        imported = self._sessions.ImportSession(request)
        time_s = perf_counter() - start
        self._delete(imported.session.session_id)
        return time_s

    def attach_s(self) -> float:
        kept = self._wire.ask(_FORK).forked.session_id
        attach = operations_pb2.Attach(session_id=kept)
        start = perf_counter()
        wire = Wire(self._channel, StreamSessionRequest(operation_id=1, attach=attach))
        time_s = perf_counter() - start
        assert wire.first.HasField("attached")
        self._delete(kept)
        return time_s
