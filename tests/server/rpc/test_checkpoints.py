"""Named checkpoints: a session goes on from one as it did before, whatever came in between."""

from __future__ import annotations

from array import array
from dataclasses import replace
from pathlib import Path

import grpc
import pytest
from tests.server.rpc.conftest import Stream, described, until
from tests.server.rpc.durable import (
    FIRST,
    LATER,
    PROMPT,
    SESSION_ID,
    LastingStore,
    answer,
    attach,
    begin,
    serving,
    session_of,
    stored_of,
    stream_to,
)
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.server.batch.limits import MAX_CHECKPOINT_NAME_CHARS, MAX_CHECKPOINTS
from cellwire.server.errors import DamagedRecord
from cellwire.server.host import earlier_text, session_copies, stored_sessions
from cellwire.server.host.config import Config
from cellwire.server.host.durable_session import DurableSession
from cellwire.server.host.earlier_text import EarlierText, reach_from, text_before
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.stored_sessions import StoredSessions
from cellwire.server.rpc import generation_service
from cellwire.server.state import text_history
from cellwire.server.state.stored_session import StoredSession
from cellwire.v1 import operations_pb2
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.sessions_pb2 import (
    DeleteSessionRequest,
    ExportSessionRequest,
    ImportSessionRequest,
)
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

SAMPLING = {"temperature": 0.8}


@pytest.fixture
def config(model: Path) -> Config:
    return Config(models=(model,), sessions=40, threads=1, drain_timeout_s=5)


@pytest.fixture
def store() -> LastingStore:
    return LastingStore()


async def asked(stream: Stream, number: int, **operation: object) -> StreamSessionResponse:
    await stream.send(number, **operation)
    return await answer(stream)


async def write(stream: Stream, number: int, tokens: int) -> str:
    return await stream.generated(number, tokens, sampling=SAMPLING)


def code_of(response: StreamSessionResponse) -> grpc.StatusCode:
    number = response.rejected.status.code
    return next(code for code in grpc.StatusCode if code.value[0] == number)


@pytest.mark.parametrize("durability", [LATER, FIRST])
async def test_a_session_goes_on_as_it_did_at_its_checkpoints(
    config: Config, tmp_path: Path, durability: str
) -> None:
    """Beyond the rewind window, in any order, and over a restart of the daemon."""
    config = replace(config, state=tmp_path / "state")
    async with serving(config) as (_, channel):
        stream = await begin(channel, durability)
        start = PROMPT + await write(stream, 2, 700)
        kept = await asked(stream, 3, checkpoint={"name": "a"})
        assert (kept.checkpointed.name, kept.checkpointed.offset) == ("a", len(start))
        after_a = await write(stream, 4, 900)
        await stream.send(5, append={"text": "another turn, "})
        await stream.send(6, checkpoint={"name": "b"})
        assert (await answer(stream)).appended.offset == len(start) + 914
        offset_b = (await answer(stream)).checkpointed.offset
        after_b = await write(stream, 7, 50)
        restored = await asked(stream, 8, restore={"name": "a"})
        assert (restored.restored.name, restored.restored.offset) == ("a", len(start))
        assert restored.revision > kept.revision
        assert await write(stream, 9, 900) == after_a
        assert (await asked(stream, 10, restore={"name": "b"})).restored.offset == offset_b
        assert await write(stream, 11, 50) == after_b
    async with serving(config) as (_, channel):
        stream, attached = await attach(channel, offset=0)
        text = f"{start}{after_a}another turn, {after_b}"
        assert attached.attached.missed.text == text
        assert [(c.name, c.offset) for c in (await described(channel, SESSION_ID)).checkpoints] == [
            ("a", len(start)),
            ("b", offset_b),
        ]
        assert (await asked(stream, 12, restore={"name": "a"})).restored.offset == len(start)
        assert await write(stream, 13, 20) == after_a[:20]
        stream, attached = await attach(channel, offset=0, takeover=True)
        assert attached.attached.missed.text == start + after_a[:20]


async def test_operations_need_not_wait_for_a_restore(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel)
        await stream.send(2, checkpoint={"name": "a"})
        await stream.send(3, append={"text": "one thing"})
        await stream.send(4, restore={"name": "a"})
        await stream.send(5, append={"text": "another"})
        await stream.send(6, restore={"name": "a"})
        await stream.send(7, generate={"max_tokens": 9})
        kinds = [r.WhichOneof("answer") for r in await stream.until("finished")]
        answers = [kind for kind in kinds if kind not in {"saved", "chunk"}]
        assert answers == [
            "checkpointed",
            "appended",
            "restored",
            "appended",
            "restored",
            "finished",
        ]
        session = await described(channel, SESSION_ID)
        assert session.tail.startswith(PROMPT)
        assert session.offset == len(PROMPT) + 9


async def test_a_restored_session_can_be_rewound_as_it_could_be(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel, rewind_window=20)
        text = PROMPT + await write(stream, 2, 600)
        await asked(stream, 3, checkpoint={"name": "a"})
        await write(stream, 4, 300)
        await asked(stream, 5, restore={"name": "a"})
        refused = await asked(stream, 6, rewind={"tokens": 21})
        assert code_of(refused) is grpc.StatusCode.OUT_OF_RANGE
        assert str(len(text) - 20) in refused.rejected.status.message
        assert (await asked(stream, 7, rewind={"tokens": 20})).rewound.offset == len(text) - 20
        assert await write(stream, 8, 20) == text[-20:]


async def test_a_name_is_used_again_and_discarded(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel)
        await asked(stream, 2, checkpoint={"name": "a"})
        await asked(stream, 3, append={"text": "more"})
        await asked(stream, 4, checkpoint={"name": "a"})
        await asked(stream, 5, checkpoint={"name": "é 世"})
        assert (await asked(stream, 6, restore={"name": "a"})).restored.offset == 16
        assert (await asked(stream, 7, discard={"name": "a"})).discarded.name == "a"
        for operation in ("restore", "discard"):
            refused = await asked(stream, 8, **{operation: {"name": "a"}})
            assert code_of(refused) is grpc.StatusCode.NOT_FOUND
            assert refused.rejected.status.message == (
                "the session has no checkpoint 'a'; it has 'é 世'"
            )
        session = await described(channel, SESSION_ID)
        assert [(c.name, c.offset) for c in session.checkpoints] == [("é 世", 16)]
        await asked(stream, 9, discard={"name": "é 世"})
        refused = await asked(stream, 10, restore={"name": "a"})
        assert "none: keep one first" in refused.rejected.status.message


async def test_checkpoints_end_with_their_session(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel)
        await asked(stream, 2, checkpoint={"name": "a"})
        forked = (await asked(stream, 3, fork={})).forked.session_id
        assert not (await described(channel, forked)).checkpoints
        await SessionsServiceStub(channel).DeleteSession(
            DeleteSessionRequest(session_id=SESSION_ID)
        )
        stream = await begin(channel)
        assert code_of(await asked(stream, 2, restore={"name": "a"})) is grpc.StatusCode.NOT_FOUND


async def test_names_are_bounded(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel)
        for name in ("", "x" * (MAX_CHECKPOINT_NAME_CHARS + 1)):
            refused = await asked(stream, 2, checkpoint={"name": name})
            assert code_of(refused) is grpc.StatusCode.INVALID_ARGUMENT
        for number in range(MAX_CHECKPOINTS):
            kept = await asked(stream, 3 + number, checkpoint={"name": str(number)})
            assert kept.HasField("checkpointed")
        refused = await asked(stream, 100, checkpoint={"name": "one more"})
        assert code_of(refused) is grpc.StatusCode.RESOURCE_EXHAUSTED
        assert (await asked(stream, 101, checkpoint={"name": "7"})).HasField("checkpointed")
        assert (await asked(stream, 102, append={"text": "on"})).appended.offset == 14


@pytest.mark.parametrize("operation", ["checkpoint", "restore", "discard"])
async def test_only_durable_sessions_have_checkpoints(
    config: Config, store: LastingStore, operation: str
) -> None:
    async with serving(config, store) as (_, channel):
        stream = stream_to(channel)
        await stream.open()
        refused = await asked(stream, 2, **{operation: {"name": "a"}})
        assert code_of(refused) is grpc.StatusCode.FAILED_PRECONDITION
        assert "SAFE_LATER" in refused.rejected.status.message


async def test_what_was_done_is_remembered(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (_, channel):
        stream = await begin(channel)
        for number, operation in enumerate(
            [
                {"checkpoint": {"name": "a"}},
                {"append": {"text": "more"}},
                {"restore": {"name": "a"}},
                {"discard": {"name": "a"}},
                {"restore": {"name": "a"}},
            ],
            2,
        ):
            last = await asked(stream, number, **operation)
    async with serving(config, store) as (_, channel):
        _, attached = await attach(channel)
        done = {d.operation_id: d for d in attached.attached.done}
        assert attached.revision == last.revision == 6
        assert (done[2].checkpointed.name, done[2].checkpointed.offset) == ("a", 12)
        assert (done[4].restored.name, done[4].restored.offset) == ("a", 12)
        assert done[5].discarded.name == "a"
        assert done[6].rejected.status.code == grpc.StatusCode.NOT_FOUND.value[0]


async def test_a_restore_waits_for_the_store_and_others_do_not(
    config: Config, store: LastingStore
) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel)
        other = await begin(channel, None, "f" * 32)
        store.open.clear()
        await asked(stream, 2, checkpoint={"name": "a"})
        await stream.send(3, restore={"name": "a"})
        await stream.send(4, append={"text": "behind it"})
        assert len(await other.generated(2, 50)) == 50
        assert tuple((await described(channel, SESSION_ID)).operation_ids) == (3, 4)
        store.open.set()
        assert (await answer(stream)).HasField("restored")
        assert (await answer(stream)).appended.offset == len(PROMPT) + 9
        assert session_of(daemon).record.changes.length == len(PROMPT) + 9


async def test_a_restore_that_waits_can_be_cancelled(config: Config, store: LastingStore) -> None:
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel)
        store.open.clear()
        await asked(stream, 2, checkpoint={"name": "a"})
        await asked(stream, 3, append={"text": "more"})
        await stream.send(4, restore={"name": "a"})
        await stream.send(5, cancel={"operation_id": 4})
        assert (await answer(stream)).finished.offset == len(PROMPT) + 4
        assert (await answer(stream)).HasField("cancelled")
        store.open.set()
        restoring = stored_of(daemon)._restoring
        await until(lambda: not restoring._tasks)
        assert (await asked(stream, 6, append={"text": "on"})).appended.offset == len(PROMPT) + 6


async def test_a_restore_fails_alone_without_the_store(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stored_sessions, "SAFE_FIRST_TIMEOUT_S", 0.02)
    async with serving(config, store) as (_, channel):
        stream = await begin(channel)
        store.open.clear()
        await asked(stream, 2, checkpoint={"name": "a"})
        refused = await asked(stream, 3, restore={"name": "a"})
        assert code_of(refused) is grpc.StatusCode.UNAVAILABLE
        assert (await asked(stream, 4, append={"text": "on"})).appended.offset == len(PROMPT) + 2
        store.open.set()


@pytest.mark.parametrize("fault", ["damaged", "contradicts itself", "a bug"])
async def test_a_checkpoint_that_cannot_be_read_hurts_nothing_else(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch, fault: str
) -> None:
    load = store.load_checkpoint

    def fail(session_id: str, name: str, last_tokens: int) -> StoredSession:
        match fault:
            case "damaged":
                raise DamagedRecord("it is damaged", session_id=session_id)
            case "a bug":
                raise ZeroDivisionError
        found = load(session_id, name, last_tokens)
        found.tokens.append(1)
        return found

    monkeypatch.setattr(store, "load_checkpoint", fail)
    async with serving(config, store) as (_, channel):
        stream = await begin(channel)
        await asked(stream, 2, checkpoint={"name": "a"})
        refused = await asked(stream, 3, restore={"name": "a"})
        expected = grpc.StatusCode.INTERNAL if fault == "a bug" else grpc.StatusCode.DATA_LOSS
        assert code_of(refused) is expected
        assert (await asked(stream, 4, append={"text": "on"})).appended.offset == len(PROMPT) + 2


async def test_a_text_that_is_restored_on_its_way_to_a_client_is_asked_for_again(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reach(
        sessions: SessionDirectory, session_id: str, offset: int, *, takeover: bool = False
    ) -> tuple[SessionHandle, EarlierText | None]:
        found = await reach_from(sessions, session_id, offset, takeover=takeover)
        monkeypatch.setattr(generation_service, "reach_from", reach_from)
        store.open.set()
        changes = session_of(daemon).record.changes
        await until(lambda: changes.length == 912)
        return found

    monkeypatch.setattr(earlier_text, "REMEMBERED_TOKENS", 200)
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, on_disconnect="ON_DISCONNECT_CONTINUE")
        await asked(stream, 2, append={"text": "x" * 100})
        await asked(stream, 3, checkpoint={"name": "short"})
        await asked(stream, 4, append={"text": "x" * 800})
        await asked(stream, 5, checkpoint={"name": "long"})
        await asked(stream, 6, restore={"name": "short"})
        await asked(stream, 7, append={"text": "y" * 300})
        await stored_of(daemon).flushed()
        store.open.clear()
        await asked(stream, 8, append={"text": "y"})
        await stream.send(9, restore={"name": "long"})
        monkeypatch.setattr(generation_service, "reach_from", reach)
        again = stream_to(channel)
        await again.send(attach={"session_id": SESSION_ID, "offset": 12, "takeover": True})
        code, details = await again.end()
        assert code is grpc.StatusCode.UNAVAILABLE
        assert "restored meanwhile" in details
        _, attached = await attach(channel, offset=12)
        assert attached.attached.missed.text == "x" * 900


async def test_an_export_is_of_one_time(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []

    async def read(stored: StoredSessions, session: DurableSession, end: int) -> array[int]:
        tokens = await text_before(stored, session, end)
        reads.append(len(tokens))
        if len(reads) == 1:
            await asked(stream, 5, restore={"name": "a"})
        return tokens

    monkeypatch.setattr(text_history, "MAX_REMEMBERED", 300)
    monkeypatch.setattr(text_history, "REMEMBERED_TOKENS", 200)
    monkeypatch.setattr(session_copies, "text_before", read)
    async with serving(config, store) as (_, channel):
        stream = await begin(channel)
        await asked(stream, 2, append={"text": "x" * 400})
        await asked(stream, 3, checkpoint={"name": "a"})
        await asked(stream, 4, append={"text": "y" * 500})
        stub = SessionsServiceStub(channel)
        exported = await stub.ExportSession(ExportSessionRequest(session_id=SESSION_ID))
        durability = operations_pb2.DURABILITY_SAFE_LATER
        request = ImportSessionRequest(snapshot=exported.snapshot, durability=durability)
        imported = await stub.ImportSession(request)
        assert reads == [800]  # of a text that was gone then
        _, attached = await attach(channel, imported.session.session_id, offset=0)
        assert attached.attached.missed.text == PROMPT + "x" * 400


async def test_far_text_is_that_of_the_restored_session(
    config: Config, store: LastingStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even while the store still has the text before the restore."""
    load = store.load_checkpoint

    def load_and_stop(session_id: str, name: str, last_tokens: int) -> StoredSession:
        store.open.clear()
        return load(session_id, name, last_tokens)

    monkeypatch.setattr("cellwire.server.host.earlier_text.REMEMBERED_TOKENS", 40)
    monkeypatch.setattr(store, "load_checkpoint", load_and_stop)
    async with serving(config, store) as (daemon, channel):
        stream = await begin(channel, on_disconnect="ON_DISCONNECT_CANCEL")
        await asked(stream, 2, append={"text": "x" * 100})
        await asked(stream, 3, checkpoint={"name": "a"})
        await asked(stream, 4, append={"text": "y" * 300})
        await asked(stream, 5, restore={"name": "a"})
        await asked(stream, 6, append={"text": "z" * 300})
        for _ in range(2):
            stream, attached = await attach(channel, offset=12, takeover=True)
            assert attached.attached.missed.text == "x" * 100 + "z" * 300
            store.open.set()
            await stored_of(daemon).flushed()


async def test_the_end_of_a_restored_text_is_read_again(
    store: LastingStore, tmp_path: Path
) -> None:
    """Also by what was sent before the restore was answered, and after a restart."""
    symbols = [*"acefx ", "é"]
    vocabulary = {"kind": "characters", "symbols": symbols, "unicode_form": "NFC"}
    model = write_cell(tmp_path / "nfc.onnx", lstm_cell(4, vocabulary=vocabulary))
    config = Config(models=(model,), sessions=9, threads=1, drain_timeout_s=5)
    for text in ("first", "second"):
        async with serving(config, store) as (_, channel):
            if text == "first":
                stream = await begin(channel, text="cafe")
                await stream.send(2, checkpoint={"name": "a"})
            else:
                stream, _ = await attach(channel)
            await stream.send(3, append={"text": "xx"})
            await stream.send(4, restore={"name": "a"})
            await stream.send(5, append={"text": "\u0301"})
            while (last := await answer(stream)).operation_id != 5:
                pass
            assert (last.appended.offset, last.appended.replaced_tokens) == (4, 1)
            assert (await described(channel, SESSION_ID)).tail == "café"
