"""The client without an event loop: each program runs in a thread of its own."""

from __future__ import annotations

import asyncio
import inspect
import signal
import sys
import threading
from asyncio.subprocess import PIPE
from collections.abc import Callable
from typing import Any, TypeVar

import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters

from cellwire import client
from cellwire.client import FinishReason, sync
from cellwire.client.sync.background import Background

GUARD_S = 60
ENDLESS = 1_000_000
_Value = TypeVar("_Value")


async def run(target: str, program: Callable[[sync.Client], _Value]) -> _Value:
    """Return the result of a program without an event loop."""

    def connected() -> _Value:
        with sync.connect(target) as daemon:
            return program(daemon)

    value = await asyncio.wait_for(asyncio.to_thread(connected), GUARD_S)
    assert "cellwire client" not in {thread.name for thread in threading.enumerate()}
    return value


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
            for name, member in vars(kind).items()
            if inspect.isfunction(member) and not name.startswith("_")
        }

    def properties(kind: type) -> set[str]:
        return {name for name, member in vars(kind).items() if isinstance(member, property)}

    assert parameters(plain) == parameters(waiting)
    assert properties(plain) - {"target"} == properties(waiting)


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


async def test_leaving_the_loop_ends_the_generation(target: str) -> None:
    def program(daemon: sync.Client) -> None:
        with daemon.session() as session:
            session.append("a")
            for text in session.generate(max_tokens=ENDLESS):
                assert text.startswith("b")
                break
            assert session.append("z").offset < ENDLESS
        for _ in daemon.generate("a", max_tokens=ENDLESS):
            break

    await run(target, program)


async def test_text_streams_and_leaving_the_loop_cancels(target: str, fake: FakeDaemon) -> None:
    fake.pause_at = 3

    def program(daemon: sync.Client) -> None:
        with daemon.session() as session:
            session.append("a")
            for text in session.generate(max_tokens=100):
                # If it did not stream, this would never be reached.
                if text == "d":
                    break
            assert session.append("z").offset == 5
        for _ in daemon.generate("a", max_tokens=100):
            break

    await run(target, program)
    assert "cancel" in fake.log


async def test_leaving_the_loop_cancels_a_search(target: str) -> None:
    def program(daemon: sync.Client) -> None:
        with daemon.session() as session:
            session.append("a")
            for _ in session.completing(beam_width=64, max_tokens=1024):
                break
            assert session.score("b")

    await run(target, program)


async def test_leaving_the_with_block_cancels(target: str) -> None:
    def program(daemon: sync.Client) -> None:
        with daemon.session() as session:
            session.append("a")
            with session.generate(max_tokens=ENDLESS) as generation:
                texts = iter(generation)
                assert next(texts).startswith("b")
            assert session.append("z")
            assert list(texts) == []

    await run(target, program)


async def test_another_thread_can_cancel_a_generation(target: str) -> None:
    reading: asyncio.Future[sync.Generation] = asyncio.get_running_loop().create_future()

    def program(daemon: sync.Client) -> str:
        with daemon.session() as session:
            session.append("a")
            generation = session.generate(max_tokens=ENDLESS)
            texts = iter(generation)
            text = next(texts)
            reading.get_loop().call_soon_threadsafe(reading.set_result, generation)
            return text + "".join(texts)

    running = asyncio.create_task(run(target, program))
    (await reading).cancel()
    text = await running
    assert text == letters("a", len(text))
    assert len(text) < ENDLESS


async def test_another_thread_can_supersede_a_search(target: str, fake: FakeDaemon) -> None:
    fake.pause_search_at = 0

    def program(daemon: sync.Client) -> None:
        with daemon.session() as session:
            session.append("a")
            threading.Thread(target=move_on, args=(session,)).start()
            with pytest.raises(client.Superseded):
                session.complete()
            moved.wait()

    def move_on(session: sync.Session) -> None:
        asyncio.run_coroutine_threadsafe(fake.paused.wait(), loop).result()
        session.append("b")
        moved.set()

    loop = asyncio.get_running_loop()
    moved = threading.Event()
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


async def test_a_closed_client_cancels_what_is_left(target: str) -> None:
    def program(daemon: sync.Client) -> tuple[sync.Session, sync.Generation]:
        session = daemon.session().__enter__()
        session.append("a")
        generation = session.generate(max_tokens=ENDLESS)
        assert next(iter(generation)).startswith("b")
        return session, session.generate(max_tokens=9)

    session, generation = await run(target, program)
    with pytest.raises(client.Cancelled):
        session.append("b")
    with pytest.raises(client.Cancelled):
        generation.text()
    generation.cancel()
    generation.close()
    session.__exit__(None, None, None)


PROGRAM = """
import sys
from cellwire.client import sync

with sync.connect(sys.argv[1]) as daemon, daemon.session() as session:
    session.append("a")
    try:
        for text in session.generate(max_tokens=100):
            print(text, end="", flush=True)
    except KeyboardInterrupt:
        print("|", end="")
    print(session.append("z").offset)
"""


async def test_ctrl_c_interrupts_a_call_and_not_the_session(fake: FakeDaemon) -> None:
    fake.pause_at = 2
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-W", "error", "-c", PROGRAM, fake.target, stdout=PIPE, stderr=PIPE
    )
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readexactly(2), GUARD_S) == b"bc"
    process.send_signal(signal.SIGINT)
    out, err = await asyncio.wait_for(process.communicate(), GUARD_S)
    assert (out, err) == (b"|4\n", b"")
    assert "cancel" in fake.log


def test_a_call_that_is_interrupted_while_it_starts_does_not_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    background = Background()
    send = background._loop.call_soon_threadsafe

    def interrupted(*call: Any) -> None:  # noqa: ANN401  # a callback and its arguments
        send(*call)
        monkeypatch.undo()
        raise KeyboardInterrupt

    async def others() -> int:
        for _ in range(3):  # a task that is cancelled ends in the next rounds of the loop
            await asyncio.sleep(0)
        return len(asyncio.all_tasks()) - 1

    alone = background.run(others())
    monkeypatch.setattr(background._loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        background.run(asyncio.sleep(GUARD_S))
    assert background.run(others()) == alone
    background.close()


async def test_a_program_that_forgets_to_close_still_ends(target: str) -> None:
    program = "import sys; from cellwire.client import sync; c = sync.connect(sys.argv[1])\n"
    program += "c.__enter__(); print(c.models()[0].name)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, target, stdout=PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), GUARD_S)
    assert (process.returncode, out) == (0, b"alphabet\n")
