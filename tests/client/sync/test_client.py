"""The client without an event loop."""

from __future__ import annotations

import inspect

import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.sync.in_thread import run

from cellwire import client
from cellwire.client import FinishReason, sync


@pytest.mark.parametrize(
    ("waiting", "plain"),
    [
        (client.Client, sync.Client),
        (client.Session, sync.Session),
        (client.Generation, sync.Generation),
    ],
)
def test_both_clients_have_the_same_names_and_arguments(waiting: type, plain: type) -> None:
    def parameters(kind: type) -> dict[str, list[object]]:
        return {
            name.removeprefix("a") if name == "aclose" else name: [
                (parameter.name, parameter.kind, parameter.default)
                for parameter in inspect.signature(member).parameters.values()
            ]
            for name, member in inspect.getmembers(kind)
            if inspect.isfunction(member) and not name.startswith("_")
        }

    def properties(kind: type) -> set[str]:
        members = {name: one for name, one in inspect.getmembers(kind) if name[0] != "_"}
        return {name for name, member in members.items() if isinstance(member, property)}

    assert parameters(plain) == parameters(waiting)
    assert properties(plain) - {"target"} == properties(waiting)


def test_both_connect_in_the_same_way() -> None:
    plain, waiting = inspect.signature(sync.connect), inspect.signature(client.connect)
    assert list(plain.parameters.values()) == list(waiting.parameters.values())


async def test_operations_run_in_order(target: str) -> None:
    def program(daemon: sync.Client) -> None:
        with daemon.session(seed=7, rewind_window=9) as session:
            assert (session.seed, session.model.name, session.missed) == (7, "alphabet", "")
            assert session.append("abc").offset == 3
            generation = session.generate(max_tokens=3, top_p=0.5, stop_strings=["xyz"])
            assert "".join(generation) == "def"
            assert generation.finished is not None
            assert generation.finished.reason is FinishReason.MAX_TOKENS
            best = session.complete(max_tokens=4).completions[0]
            assert (best.text, session.accept(tokens=2).offset) == ("ghij", 8)
            assert session.rewind(1).offset == 7
            *_, last = session.completing(max_tokens=3)
            assert last.completions[0].text == "hij"
            assert session.score("i").log_probability == pytest.approx(-30)
            with pytest.raises(client.FailedPrecondition):
                session.classify()
            assert session.offset == 7
            forked = session.fork(seed=1)
            with daemon.attach(forked) as other:
                assert (other.offset, other.running) == (7, ())
                assert other.generate(max_tokens=1).text() == "h"
            session.detach()
        with daemon.attach(session.id, offset=3) as session:
            assert session.missed == "defg"
        with pytest.raises(client.NotFound):
            daemon.get_session(session.id)

    await run(target, program)


async def test_a_session_returns_to_its_checkpoints(target: str, fake: FakeDaemon) -> None:
    def program(daemon: sync.Client) -> None:
        assert fake.target == daemon.target
        with daemon.session() as session:
            session.append("abc")
            assert session.checkpoint("a").offset == 3
            session.append("d")
            assert session.restore("a").offset == 3
            assert session.discard_checkpoint("a").name == "a"

    await run(target, program)


async def test_calls_need_no_session(target: str) -> None:
    def program(daemon: sync.Client) -> None:
        assert daemon.target == target
        assert daemon.generate("ab", max_tokens=2, seed=1).text() == "cd"
        assert daemon.complete("ab", max_tokens=2).completions[0].text == "cd"
        assert daemon.score("b", prompt="a").scored_tokens == 1
        assert daemon.classify("x", model="judge").scores[0].label == "good"
        assert [model.name for model in daemon.models()] == ["alphabet", "judge", "words"]
        assert daemon.model("words").vocabulary.symbols[:2] == ("a", "b")
        assert daemon.load_model("spare").name == "spare"
        assert daemon.unload_model("spare") == 0
        with daemon.session() as session:
            session.append("abc")
            assert daemon.get_session(session.id).tail == "abc"
            forked = daemon.fork_session(session.id, seed=0)
            snapshot = daemon.export_session(session.id)
        daemon.delete_session(forked.session_id)
        with daemon.attach(daemon.import_session(snapshot)) as session:
            assert session.generate(max_tokens=1).text() == "d"
        with pytest.raises(client.NotFound):
            daemon.get_session(session.id)

    await run(target, program)


async def test_errors_are_those_of_the_other_client(target: str) -> None:
    def program(daemon: sync.Client) -> None:
        with pytest.raises(client.NotFound), daemon.session(model="x"):
            pytest.fail("it opened")
        with daemon.session() as session:
            with pytest.raises(client.InvalidArgument):
                session.append("A")
            daemon.delete_session(session.id)
            with pytest.raises(client.Aborted):
                session.append("a")

    await run(target, program)


async def test_a_stopped_daemon_is_unreachable(target: str, fake: FakeDaemon) -> None:
    await fake.stop()
    with pytest.raises(client.Unreachable):
        await run(target, lambda daemon: daemon.models())
