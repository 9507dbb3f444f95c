"""Calls without a session: unary calls, models, and sessions from outside."""

from __future__ import annotations

import pytest
from tests.client.fake.daemon import FakeDaemon

from cellwire import client
from cellwire.client import Client, LabelScore
from cellwire.v1 import operations_pb2


async def test_generate_takes_what_a_session_takes(daemon: Client) -> None:
    generation = daemon.generate(
        "aB", max_tokens=9, seed=3, unknown_symbols="skip", top_p=0.5, stop_strings=["d"]
    )
    assert await generation.text() == "bc"
    assert generation.finished is not None
    assert generation.finished.stop_string == "d"


async def test_generate_sends_what_it_is_given(daemon: Client, fake: FakeDaemon) -> None:
    await daemon.generate("a", max_tokens=9, seed=3, top_p=0.5).text()
    (request,) = fake.requests
    assert request.open.seed == 3
    assert not request.generate.sampling.HasField("seed")
    assert request.generate.sampling.top_p == 0.5


async def test_complete_needs_no_session(daemon: Client) -> None:
    completed = await daemon.complete("ab", model="alphabet", completion_count=2, max_tokens=2)
    assert completed.offset == 2
    best, second = completed.completions
    assert (best.text, best.token_count, best.ended) == ("cd", 2, True)
    assert best.log_probability == pytest.approx(0, abs=1e-6)
    assert second.log_probability == pytest.approx(-30)
    with pytest.raises(client.InvalidArgument, match="empty"):
        await daemon.complete("")
    with pytest.raises(client.NotFound):
        await daemon.complete("a", model="x")


async def test_a_call_leaves_no_session(daemon: Client, fake: FakeDaemon) -> None:
    await daemon.complete("a")
    assert fake.sessions == {}


async def test_score_takes_a_prompt_or_none(daemon: Client) -> None:
    assert (await daemon.score("abc")).scored_tokens == 2
    scored = await daemon.score("d", prompt="ab", log_probabilities=True)
    assert scored.scored_tokens == 1
    assert scored.log_probabilities == pytest.approx((-30,))
    with pytest.raises(client.InvalidArgument):
        await daemon.score("C")
    assert (await daemon.score("aCb", unknown_symbols="skip")).scored_tokens == 1


async def test_score_sends_what_it_is_given(daemon: Client, fake: FakeDaemon) -> None:
    await daemon.score("abc")
    assert not fake.requests[-1].HasField("prompt")
    await daemon.score("aC", unknown_symbols="skip")
    assert fake.requests[-1].open.unknown_symbols == operations_pb2.UNKNOWN_SYMBOLS_SKIP


async def test_classify_needs_a_model_with_labels(daemon: Client) -> None:
    classified = await daemon.classify("good", model="judge")
    assert classified.scores == (LabelScore("good", 0.75), LabelScore("bad", 0.25))
    with pytest.raises(client.FailedPrecondition, match="no labels"):
        await daemon.classify("good")


async def test_models_come_and_go(daemon: Client) -> None:
    assert (await daemon.load_model("spare")).name == "spare"
    assert [model.name for model in await daemon.models()][-1] == "spare"
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
    await daemon.load_model("spare")
    async with daemon.session(model="spare") as session, daemon.session() as other:
        assert await daemon.unload_model("spare") == 1
        with pytest.raises(client.Aborted, match="unloaded"):
            await session.append("a")
        assert await other.append("a")


async def test_a_daemon_without_a_model_folder_changes_no_models(
    daemon: Client, fake: FakeDaemon
) -> None:
    fake.model_folder = False
    with pytest.raises(client.PermissionDenied, match="--model-folder"):
        await daemon.load_model("spare")
    with pytest.raises(client.PermissionDenied):
        await daemon.unload_model("judge")


async def test_a_session_can_be_looked_at_from_outside(daemon: Client) -> None:
    async with daemon.session(seed=7) as session:
        await session.append("abc")
        info = await daemon.get_session(session.id)
        assert (info.session_id, info.model, info.seed) == (session.id, "alphabet", 7)
        assert (info.offset, info.tail) == (3, "abc")
        assert (info.attached, info.operation_ids) == (True, ())
    with pytest.raises(client.NotFound):
        await daemon.get_session(session.id)


async def test_a_session_can_be_forked_from_outside(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("abc")
        forked = await daemon.fork_session(session.id, seed=0)
        assert forked.session_id != session.id
        assert (forked.model, forked.seed, forked.offset) == ("alphabet", 0, 3)
        assert (forked.tail, forked.attached) == ("abc", False)
        assert await daemon.get_session(forked.session_id) == forked
    async with daemon.attach(forked) as other:
        assert await other.generate(max_tokens=1).text() == "d"
    with pytest.raises(client.NotFound):
        await daemon.fork_session("nobody")


async def test_a_session_can_be_carried_away(daemon: Client) -> None:
    async with daemon.session() as session:
        await session.append("abc")
        snapshot = await daemon.export_session(session.id)
    imported = await daemon.import_session(snapshot)
    assert (imported.model, imported.offset, imported.attached) == ("alphabet", 3, False)
    async with daemon.attach(imported) as again:
        assert again.id == imported.session_id
        assert await again.generate(max_tokens=1).text() == "d"
    with pytest.raises(client.NotFound):
        await daemon.export_session(session.id)
    with pytest.raises(client.InvalidArgument, match="snapshot"):
        await daemon.import_session(b"something else")
