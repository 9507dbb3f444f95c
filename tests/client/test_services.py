"""What can be asked of a daemon without a session of one's own."""

from __future__ import annotations

import pytest

from cellwire import client
from cellwire.client import Client, Completion, Forked, LabelScore
from cellwire.v1 import operations_pb2

from tests.client.fake.daemon import FakeDaemon


async def test_generate_takes_what_a_session_takes(daemon: Client, fake: FakeDaemon) -> None:
    generation = daemon.generate(
        "aB", max_chars=9, seed=3, unknown_symbols="skip", top_p=0.5, stop=["d"]
    )
    assert await generation.text() == "bc"
    assert generation.finished is not None
    assert generation.finished.stop == "d"
    (request,) = fake.requests
    assert request.open.seed == 3
    assert not request.generate.sampling.HasField("seed")
    assert request.generate.sampling.top_p == 0.5


async def test_complete_needs_no_session(daemon: Client, fake: FakeDaemon) -> None:
    completed = await daemon.complete(b"ab", model="alphabet", completions=2, max_chars=2)
    assert completed.offset == 2
    assert completed.completions == (
        Completion("cd", -1.0, 2, ended=False),
        Completion("de", -2.0, 2, ended=False),
    )
    with pytest.raises(client.FailedPrecondition, match="no text"):
        await daemon.complete("")
    with pytest.raises(client.NotFound):
        await daemon.complete("a", model="x")
    assert fake.sessions == {}


async def test_score_takes_a_prompt_or_none(daemon: Client, fake: FakeDaemon) -> None:
    assert (await daemon.score("abc")).scored_chars == 2
    assert not fake.requests[-1].HasField("prompt")
    scored = await daemon.score("c", prompt="ab", log_probabilities=True)
    assert (scored.scored_chars, scored.log_probabilities) == (1, (-0.5,))
    with pytest.raises(client.InvalidArgument):
        await daemon.score("C")
    await daemon.score("C", unknown_symbols="skip")
    assert fake.requests[-1].open.unknown_symbols == operations_pb2.UNKNOWN_SYMBOLS_SKIP


async def test_classify_needs_a_model_with_labels(daemon: Client) -> None:
    classified = await daemon.classify("good", model="untrained")
    assert classified.scores == (LabelScore("good", 0.75), LabelScore("bad", 0.25))
    with pytest.raises(client.FailedPrecondition, match="no labels"):
        await daemon.classify("good")


async def test_models_come_and_go(daemon: Client) -> None:
    assert (await daemon.load_model("spare")).name == "spare"
    assert [model.name for model in await daemon.models()] == ["alphabet", "untrained", "spare"]
    with pytest.raises(client.AlreadyExists):
        await daemon.load_model("spare")
    with pytest.raises(client.NotFound, match=r"missing\.onnx"):
        await daemon.load_model("missing")
    assert await daemon.unload_model("spare") == 0
    with pytest.raises(client.NotFound):
        await daemon.unload_model("spare")
    with pytest.raises(client.FailedPrecondition, match="default"):
        await daemon.unload_model("alphabet")


async def test_unloading_a_model_ends_its_sessions(daemon: Client) -> None:
    async with daemon.session(model="untrained") as session, daemon.session() as other:
        assert await daemon.unload_model("untrained") == 1
        with pytest.raises(client.Aborted):
            await session.append("a")
        assert await other.append("a")


async def test_a_daemon_without_a_model_folder_changes_no_models(
    daemon: Client, fake: FakeDaemon
) -> None:
    fake.model_folder = False
    with pytest.raises(client.PermissionDenied, match="no model folder"):
        await daemon.load_model("spare")
    with pytest.raises(client.PermissionDenied):
        await daemon.unload_model("untrained")


async def test_a_session_can_be_looked_at_from_outside(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("abc")
        info = await daemon.get_session(session.id)
        assert (info.model.name, info.offset, info.tail) == ("alphabet", 3, "abc")
        assert (info.attached, info.operation_ids) == (True, ())
    with pytest.raises(client.NotFound):
        await daemon.get_session(session.id)


async def test_a_session_can_be_forked_from_outside(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("abc")
        forked = await daemon.fork_session(session.id, seed=0)
        assert forked == Forked("session 1", seed=0, offset=3)
        assert not (await daemon.get_session(forked.session_id)).attached
    async with daemon.attach(forked) as other:
        assert await other.generate(max_chars=1).text() == "d"
    with pytest.raises(client.NotFound):
        await daemon.fork_session("nobody")


async def test_a_session_can_be_carried_away(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("abc")
        snapshot = await daemon.export_session(session.id)
    imported = await daemon.import_session(snapshot)
    assert (imported.model.name, imported.offset) == ("alphabet", 3)
    async with daemon.attach(imported) as again:
        assert await again.generate(max_chars=1).text() == "d"
    with pytest.raises(client.NotFound):
        await daemon.export_session(session.id)
    with pytest.raises(client.InvalidArgument, match="no session"):
        await daemon.import_session(b"something else")
