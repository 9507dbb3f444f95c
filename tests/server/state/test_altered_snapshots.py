"""Altered snapshots with a right checksum: refused, or restored to a working session."""

from __future__ import annotations

import hashlib
import math
from dataclasses import replace
from typing import Any

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.server.tiny_cell import SYMBOLS, lstm_cell, write_cell

from cellwire.model_file.cell import read_cell
from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.commands import AttachReader, OpenSession, SubmitOperation
from cellwire.server.engine.engine import Engine
from cellwire.server.errors import InvalidArgument
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import (
    Append,
    Classify,
    Close,
    Complete,
    Fork,
    Generate,
    Operation,
    Rewind,
    Score,
)
from cellwire.server.state.arena import Arena
from cellwire.server.state.snapshot import (
    MAGIC,
    VERSION,
    SessionSnapshot,
    SnapshotFile,
    from_bytes,
    to_bytes,
    to_token_bytes,
)

CAPACITY = 300
WINDOW = 20
TEXT = np.arange(70, dtype=np.uint32) % len(SYMBOLS)


@pytest.fixture(scope="module")
def runtime(tmp_path_factory: pytest.TempPathFactory) -> Runtime:
    path = write_cell(tmp_path_factory.mktemp("model") / "tiny.onnx", lstm_cell(4))
    return Runtime(read_cell(path), Arena(CAPACITY).slots, max_batch=16)


def new_engine(runtime: Runtime) -> Engine:
    return Engine(runtime, Arena(CAPACITY), Limits(), max_sessions=4, max_batch=8)


def run(engine: Engine) -> None:
    for _ in range(10_000):
        engine.step()
        if engine.idle:
            break
    engine.check_integrity()


@pytest.fixture(scope="module")
def unaltered(runtime: Runtime) -> dict[str, Any]:
    """The fields of an unaltered snapshot."""
    engine = new_engine(runtime)
    engine.handle(OpenSession("a", 1, 7, WINDOW))
    engine.handle(SubmitOperation("a", Append(1, TEXT)))
    run(engine)
    snapshot = SnapshotFile(VERSION, "f" * 64, {"idle_timeout_s": 600}, engine.snapshot("a"))
    fields: dict[str, Any] = msgspec.to_builtins(snapshot, builtin_types=(bytes,))
    assert from_bytes(sealed(fields), 100) == snapshot
    return fields


def sealed(fields: object) -> bytes:
    """Return fields as a snapshot with a right checksum."""
    body = msgspec.msgpack.encode(fields)
    return MAGIC + hashlib.sha256(body).digest() + body


LIMITS = st.sampled_from([0, 1, WINDOW, 1_024, 2**31, 2**62, 2**63 - 1, 2**64 - 1, -1, -(2**63)])
TEXTS = st.lists(st.integers(0, len(SYMBOLS) - 1), max_size=90)
ANYTHING: st.SearchStrategy[Any] = LIMITS | st.sampled_from(
    [
        None,
        True,
        0.5,
        math.nan,
        "",
        "text",
        b"",
        b"four",
        [],
        [b"four"],
        [1, 2],
        {},
        {"a": 1},
        [[{}]],
    ]
)


def value_like(old: object) -> st.SearchStrategy[Any]:
    """Return a strategy of values of a field's type."""
    if isinstance(old, int):
        return st.integers(-3, 3).map(lambda by: max(-1, old + by)) | st.integers(-2, 90) | LIMITS
    if isinstance(old, bytes):
        return TEXTS.map(to_token_bytes) | st.binary(max_size=400)
    return st.lists(st.binary(min_size=16, max_size=16), min_size=2, max_size=2)


def every_operation(of: str, window: int, floor: int) -> list[Operation]:
    text, sampling = TEXT[:9], Sampling()
    stops = tuple((token,) * window for token in range(8)) if window else ()
    return [
        Score(2, text),
        Complete(3, 3, 1, 4),
        Generate(4, 40, sampling, stop_strings=stops),
        Rewind(5, offset=floor),
        Fork(6, f"fork of {of}", 1),
        Append(7, text),
        Generate(8, 40, sampling, stop_strings=stops),
        Rewind(9, tokens=window),
        Generate(10, 40, Sampling(repetition_penalty=1.5, repetition_window=1_024)),
        Classify(11),
        Close(12),
    ]


def use(engine: Engine, snapshot: SessionSnapshot) -> None:
    """Run every operation on the restored session "b", and on a fork of it."""
    engine.describe("b")
    engine.fork("b", "fork", 1)
    assert engine.snapshot("b").consistent
    for session_id in ("b", "fork"):
        engine.handle(AttachReader(session_id, 1, snapshot.text_start))
        for operation in every_operation(session_id, snapshot.rewind_window, snapshot.rewind_floor):
            engine.handle(SubmitOperation(session_id, operation))
            engine.step()
            engine.check_integrity()
        run(engine)


@settings(deadline=None)
@given(data=st.data())
def test_an_altered_snapshot_is_refused_or_gives_a_working_session(
    runtime: Runtime, unaltered: dict[str, Any], data: st.DataObject
) -> None:
    session = dict(unaltered["session"])
    further = data.draw(st.sampled_from([0, 10**6, 2**62 - 70, 2**62, 2**63 - 60, 2**64 - 100]))
    session |= {
        name: session[name] + further for name in ("text_start", "rewind_floor", "tokens_read")
    }
    names = st.lists(st.sampled_from(list(session)), max_size=2, unique=True)
    for name in data.draw(names):
        session[name] = data.draw(value_like(session[name]))
    try:
        snapshot = from_bytes(sealed({**unaltered, "session": session}), 100).session
        if snapshot.tokens.max(initial=0) >= len(SYMBOLS):
            return  # the host compares tokens with the vocabulary
        engine = new_engine(runtime)
        engine.restore("b", snapshot)
    except InvalidArgument:
        return
    engine.check_integrity()
    use(engine, snapshot)


@given(data=st.data())
def test_an_altered_structure_is_refused_or_read(
    unaltered: dict[str, Any], data: st.DataObject
) -> None:
    fields = {**unaltered, "session": dict(unaltered["session"])}
    for part in (fields["session"], fields):
        for name in data.draw(st.lists(st.sampled_from(list(part)), max_size=1)):
            part[name] = data.draw(ANYTHING)
    body = bytearray(msgspec.msgpack.encode(fields))
    for _ in range(data.draw(st.integers(0, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        snapshot = from_bytes(MAGIC + hashlib.sha256(body).digest() + bytes(body), 1_000)
    except InvalidArgument:
        return
    assert snapshot.session.consistent
    assert from_bytes(to_bytes(snapshot), 1_000) == snapshot


def test_a_state_of_another_shape_is_refused_and_frees_its_slots(
    runtime: Runtime, unaltered: dict[str, Any]
) -> None:
    snapshot = from_bytes(sealed(unaltered), 100).session
    engine = new_engine(runtime)
    with pytest.raises(InvalidArgument, match="shape"):
        engine.restore("b", replace(snapshot, state=snapshot.state[:1]))
    assert engine.stats().reserved_slots == 0
    engine.check_integrity()
