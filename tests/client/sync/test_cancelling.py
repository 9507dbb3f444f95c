"""Ending operations of the client without an event loop early."""

from __future__ import annotations

import asyncio
import signal
import sys
import threading
from asyncio.subprocess import PIPE

import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters
from tests.client.sync.in_thread import run

from cellwire import client
from cellwire.client import sync

GUARD_S = 60
ENDLESS = 1_000_000


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


async def test_a_program_that_forgets_to_close_still_ends(target: str) -> None:
    program = "import sys; from cellwire.client import sync; c = sync.connect(sys.argv[1])\n"
    program += "c.__enter__(); print(c.models()[0].name)"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, target, stdout=PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), GUARD_S)
    assert (process.returncode, out) == (0, b"alphabet\n")
