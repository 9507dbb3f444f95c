"""Sessions at rest: what they take in the store and in the process, and how long a wake takes."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from time import perf_counter

import grpc
from tests.bench.child import daemon, resident_bytes, serving
from tests.bench.figures import names
from tests.bench.pace import quantile
from tests.bench.setting import Setting
from tests.bench.stored import Filler
from tests.bench.texts import text_of
from tests.bench.wire import Wire

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.limits import REMEMBERED_TOKENS
from cellwire.server.store.sqlite import SqliteStore
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionRequest

TEXT_TOKENS = (1_000, 100_000)
QUANTILES = {"p50": 0.5, "p99": 0.99}
IDLE_TOKENS = 100_000
IDLE_SIZE = "S"

FIGURES = (
    *names("durable.wake_ms", TEXT_TOKENS, QUANTILES),
    *names("durable.wake_text_ms", TEXT_TOKENS, QUANTILES),
    *names("durable.attach_ms", QUANTILES),
    *names("durable.stored_bytes.sqlite", TEXT_TOKENS),
    "durable.idle_bytes",
    "durable.idle_bytes_a_token",
)

_AT_ONCE = 16  # sessions that read a text in one batch
_IDLE_SHARE = 2  # of the repeats: so many times fewer

_KEEP = StreamSessionRequest(operation_id=9, close=operations_pb2.Close(keep=True))
_GENERATE = StreamSessionRequest(operation_id=2, generate=operations_pb2.Generate(max_tokens=1))


def run(setting: Setting, size: str) -> dict[str, float]:
    """Wake sessions of each length, then let some rest in the process."""
    figures: dict[str, float] = {}
    for tokens in TEXT_TOKENS:
        figures |= _woken(setting, size, tokens)
    idle_size = IDLE_SIZE if size != "tiny" else size
    return figures | _idle(setting, idle_size)


@dataclass(frozen=True, slots=True)
class Woken:
    """How long each session took: to its answer, and to its first character."""

    attached_s: Sequence[float]
    text_s: Sequence[float]


def wake(address: str, session_ids: Sequence[str]) -> Woken:
    """Attach to each session, generate a character, and let go of it."""
    attached_s, text_s = [], []
    with grpc.insecure_channel(address) as channel:
        grpc.channel_ready_future(channel).result()
        for session_id in session_ids:
            start = perf_counter()
            wire = attached(channel, session_id)
            attached_s.append(perf_counter() - start)
            wire.send(_GENERATE)
            _until(wire, "chunk")
            text_s.append(perf_counter() - start)
            _until(wire, "finished")
            wire.send(_KEEP)
            wire.end()
    return Woken(attached_s, text_s)


def attached(channel: grpc.Channel, session_id: str) -> Wire:
    """Attach to a session, which gives no text again."""
    attach = operations_pb2.Attach(session_id=session_id)
    wire = Wire(channel, StreamSessionRequest(operation_id=1, attach=attach))
    assert wire.first.HasField("attached"), wire.first
    return wire


def in_quantiles(name: str, seconds: Sequence[float]) -> dict[str, float]:
    """Return figures in milliseconds."""
    return {f"{name}.{q}": 1_000 * quantile(seconds, share) for q, share in QUANTILES.items()}


def _until(wire: Wire, answer: str) -> None:
    while not wire.answer().HasField(answer):  # type: ignore[arg-type]  # one of the answers
        pass


def _woken(setting: Setting, size: str, tokens: int) -> dict[str, float]:
    repeats = setting.effort.repeats
    setting.say(f"durable: wakes {repeats} sessions of {tokens:,} tokens")
    with tempfile.TemporaryDirectory(prefix="cellwire-bench-") as folder:
        ids, file_bytes = _fill(setting.models.path(size), Path(folder), tokens, 1 + repeats)
        command = daemon("--model", str(setting.models.path(size)), "--state", folder)
        with serving(command) as server:
            wake(server.address, ids[:1])  # what is made once
            woken = wake(server.address, ids[1:])
            there = wake(server.address, ids[1:])
    return {
        **in_quantiles(f"durable.wake_ms.{tokens}", woken.attached_s),
        **in_quantiles(f"durable.wake_text_ms.{tokens}", woken.text_s),
        **in_quantiles("durable.attach_ms", there.attached_s),
        f"durable.stored_bytes.sqlite.{tokens}": file_bytes / (1 + repeats),
    }


def _fill(model: Path, folder: Path, tokens: int, sessions: int) -> tuple[Sequence[str], int]:
    """Make a store with sessions; return their ids, and the size of the store's file."""
    store = SqliteStore(folder)
    ids = Filler(read_cell(model), tokens).fill(store, sessions).session_ids
    store.close()
    return ids, sum(path.stat().st_size for path in folder.iterdir())


def _idle(setting: Setting, size: str) -> dict[str, float]:
    """Measure what sessions take that remember much."""
    model = setting.models.path(size)
    sessions = max(1, setting.effort.repeats // _IDLE_SHARE)
    setting.say(f"durable: {sessions} sessions that remember {IDLE_TOKENS:,} tokens")
    with tempfile.TemporaryDirectory(prefix="cellwire-bench-") as folder:
        ids, _ = _fill(model, Path(folder), IDLE_TOKENS, 2 * sessions)
        with (
            serving(daemon("--model", str(model), "--state", folder)) as server,
            grpc.insecure_channel(server.address) as channel,
        ):
            _remember(channel, ids[:sessions])  # buffers grow with the first; they are not counted
            before = resident_bytes(server.process.pid)
            _remember(channel, ids[sessions:])
            grown = resident_bytes(server.process.pid) - before
    idle_bytes = grown / sessions - read_cell(model).state_bytes
    return {
        "durable.idle_bytes": idle_bytes,
        "durable.idle_bytes_a_token": idle_bytes / IDLE_TOKENS,
    }


def _remember(channel: grpc.Channel, session_ids: Sequence[str]) -> None:
    """Wake sessions, and let their texts grow until so much of each is in the process."""
    append = operations_pb2.Append(text=text_of(IDLE_TOKENS - REMEMBERED_TOKENS))
    left = iter(session_ids)
    while some := list(islice(left, _AT_ONCE)):
        wires = [attached(channel, session_id) for session_id in some]
        for wire in wires:
            wire.send(StreamSessionRequest(operation_id=2, append=append))
        for wire in wires:
            _until(wire, "appended")
            wire.send(_KEEP)
            wire.end()
