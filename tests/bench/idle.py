"""idle: a million idle sessions; model S, rewind window 0.

Measured in a separate process, so that no other benchmark's memory is counted. Two engines as in
the daemon, each with its runtime and arena: one is filled with sessions of a few tokens each, the
other has only the sessions that generate.

idle.overhead_bytes         growth of the process per idle session, without the session's state
idle.step_ratio             time of an engine's step with 64 generating sessions and all the
                            idle ones / the same without these; in turns
idle.step_ms.full, .empty   these times
idle.run_worst_ms.full      the longest run, garbage collection included
idle.sessions               how many sessions: fewer than 1,000,000 if memory is short

What the daemon keeps beside the engine (ids, settings, outboxes), over the wire: sessions that
clients have opened, appended to, and detached from.

idle.daemon_overhead_bytes  growth of a daemon per session, without the session's state
idle.daemon_sessions        how many sessions
"""

from __future__ import annotations

from typing import cast

import grpc
from google.protobuf.duration_pb2 import Duration
from tests.bench.child import daemon, module, resident_bytes, serving, told_by
from tests.bench.machine import memory_bytes
from tests.bench.models import SIZES
from tests.bench.setting import Setting
from tests.bench.texts import text_of
from tests.bench.wire import Wire

from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest

SIZE = "S"
TEXT_TOKENS = 3

FIGURES = (
    "idle.overhead_bytes",
    "idle.step_ratio",
    "idle.step_ms.full",
    "idle.step_ms.empty",
    "idle.run_worst_ms.full",
    "idle.sessions",
    "idle.daemon_overhead_bytes",
    "idle.daemon_sessions",
)

_BYTES_EACH = 6_000  # at most, by experience
_MEMORY_SHARE = 0.7  # of what is available

_OPEN = StreamSessionRequest(
    open=operations_pb2.Open(
        rewind_window=0,
        idle_timeout=Duration(seconds=3_600),
        on_disconnect=operations_pb2.OnDisconnect.ON_DISCONNECT_CANCEL,
    )
)
_APPEND = StreamSessionRequest(append=operations_pb2.Append(text=text_of(TEXT_TOKENS)))
_KEEP = StreamSessionRequest(close=operations_pb2.Close(keep=True))


def run(setting: Setting) -> dict[str, float]:
    """Fill an engine, then a daemon."""
    return _in_an_engine(setting) | _in_a_daemon(setting)


def _in_an_engine(setting: Setting) -> dict[str, float]:
    room = int(memory_bytes("MemAvailable") * _MEMORY_SHARE / _BYTES_EACH)
    sessions = min(setting.effort.residents, room)
    setting.say(f"idle: {sessions:,} resident sessions")
    if sessions < setting.effort.residents:
        setting.say(f"idle: memory allows no more; {setting.effort.residents:,} were wanted")
    options: list[object] = [setting.models.path(SIZE), "--sessions", sessions]
    options += ["--threads", setting.threads, "--rounds", setting.effort.rounds]
    command = module("residents", *options, "--slice-s", setting.effort.slice_s)
    return cast("dict[str, float]", told_by(command, timeout_s=900))


def _in_a_daemon(setting: Setting) -> dict[str, float]:
    sessions = setting.effort.kept
    setting.say(f"idle: {sessions:,} sessions in a daemon")
    model = setting.models.path(SIZE)
    with (
        serving(daemon("--model", str(model), "--sessions", str(2 * sessions))) as server,
        grpc.insecure_channel(server.address) as channel,
    ):
        _keep(channel, sessions // 10)  # what is made once is not counted
        before = resident_bytes(server.process.pid)
        _keep(channel, sessions)
        grown = resident_bytes(server.process.pid) - before
    return {
        "idle.daemon_overhead_bytes": grown / sessions - SIZES[SIZE].state_bytes,
        "idle.daemon_sessions": sessions,
    }


def _keep(channel: grpc.Channel, sessions: int) -> None:
    """Open sessions, append to each, and let go of it."""
    for _ in range(sessions):
        wire = Wire(channel, _OPEN)
        wire.ask(_APPEND)
        wire.ask(_KEEP)
        wire.end()
