"""idle: a million sessions that do nothing; model S, rewind window 0.

In a process of its own, so that no other benchmark's memory is in the count, two engines as the
daemon has them, each with its runtime and arena: one is filled with sessions of a few characters
each, the other has none but those that generate.

idle.overhead_bytes         what the process grew by for each resident session, less its state
idle.step_ratio             time of an engine's step with 64 generating sessions and all the
                            residents / the same in the other engine; in turns
idle.step_ms.full, .empty   these times
idle.stride_worst_ms.full   the longest stride of all, the interpreter's collector included
idle.sessions               how many there were: fewer than 1,000,000 if memory does not allow it

What the daemon keeps beside the engine (ids, settings, outboxes), over the wire: sessions that
clients have opened, appended to, and let go of.

idle.daemon_overhead_bytes  what a daemon grew by for each of them, less its state
idle.daemon_sessions        how many
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
    "idle.stride_worst_ms.full",
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
