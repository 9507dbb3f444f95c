"""The editor turns keys into operations, and shows the session's text."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters

from cellwire import client
from cellwire.client import Client
from cellwire.client.commands.editor import Editor
from cellwire.client.wire.inbox import MAX_WAITING_CHARACTERS

GUARD_S = 20


class Desk:
    """A person who types, and watches what is shown."""

    def __init__(self, editor: Editor) -> None:
        self.editor = editor
        self._news = asyncio.Event()
        editor.changed = self._news.set
        self.running = asyncio.create_task(editor.run())

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(GUARD_S):
            while not condition():
                self._news.clear()
                await self._news.wait()

    async def sees(self, text: str, completion: str | None = None) -> None:
        await self.until(
            lambda: self.editor.text == text and completion in {None, self.editor.completion}
        )


@asynccontextmanager
async def desk(daemon: Client, model: str | None = None) -> AsyncIterator[Desk]:
    async with daemon.session(model=model) as session:
        desk = Desk(Editor(session, {"max_tokens": 3}))
        try:
            yield desk
            if not desk.running.done():
                desk.editor.leave()
                await desk.running
        finally:
            desk.running.cancel()


async def test_each_key_is_appended_and_completed(daemon: Client, fake: FakeDaemon) -> None:
    fake.continuations = ["sh "]
    async with desk(daemon) as at:
        at.editor.type("a")
        await at.sees("a", "sh ")
        at.editor.type("b")
        assert at.editor.completion == ""
        await at.sees("ab", "sh ")
    assert fake.log == ["open", "append", "complete", "append", "complete", "close"]


async def test_a_completion_that_is_shown_can_be_accepted(daemon: Client, fake: FakeDaemon) -> None:
    fake.continuations = ["sh "]
    async with desk(daemon) as at:
        at.editor.type("a")
        await at.sees("a", "sh ")
        at.editor.accept()
        await at.sees("ash ", "sh ")
        # One that is not shown cannot.
        at.editor.type("b")
        at.editor.accept()
        await at.sees("ash b", "sh ")
        assert at.editor.notice == ""
    assert fake.log.count("accept") == 1


async def test_the_last_character_can_be_taken_back_whoever_wrote_it(
    daemon: Client, fake: FakeDaemon
) -> None:
    fake.chunk_tokens = 2
    async with desk(daemon) as at:
        at.editor.type("ab")
        at.editor.go_on()
        await at.sees("abcde")
        at.editor.go_back()
        await at.sees("abcd")
        for _ in range(3):
            at.editor.go_back()
        await at.sees("a")
        at.editor.go_back()
        at.editor.go_back()  # there is nothing left
        at.editor.type("x")
        await at.sees("x", letters("x", 32))
    assert fake.log.count("rewind") == 5


async def test_a_character_of_many_bytes_is_taken_back_whole(
    daemon: Client, fake: FakeDaemon
) -> None:
    async with desk(daemon, "judge") as at:
        at.editor.type("né")
        at.editor.go_back()
        await at.sees("n")
        (session,) = fake.sessions.values()
        assert session.text.data == b"n"


async def test_what_cannot_go_further_back_says_so(daemon: Client) -> None:
    async with daemon.session(rewind_window=1) as session:
        at = Desk(Editor(session, {"max_tokens": 1}))
        at.editor.type("abc")
        at.editor.go_back()
        at.editor.go_back()
        await at.until(lambda: bool(at.editor.notice))
        assert at.editor.text == "ab"
        assert "can be rewound to 2" in at.editor.notice
        at.editor.leave()
        await at.running


async def test_an_unknown_symbol_is_shown_and_left_out(daemon: Client) -> None:
    async with desk(daemon) as at:
        at.editor.type("a")
        at.editor.type("B")
        await at.until(lambda: bool(at.editor.notice))
        assert (
            at.editor.notice
            == "the model does not know the symbol 'B' (U+0042) at offset 0 of the text"
        )
        at.editor.type("c")
        await at.sees("ac")
        assert at.editor.notice == ""


async def test_going_on_from_nothing_shows_why_not(daemon: Client) -> None:
    async with desk(daemon) as at:
        at.editor.go_on()
        await at.until(lambda: bool(at.editor.notice))
        assert "no text" in at.editor.notice


async def test_an_interrupt_ends_what_the_model_writes_and_not_the_session(
    daemon: Client, fake: FakeDaemon
) -> None:
    fake.pause_at = 2
    async with desk(daemon) as at:
        at.editor.type("a")
        at.editor.go_on()
        await at.sees("abc")
        assert at.editor.generating
        at.editor.interrupt()
        await at.until(lambda: not at.editor.generating)
        at.editor.type("x")
        await at.sees("abcx", letters("x", 32))


async def test_an_interrupt_ends_what_has_not_begun(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 0
    async with desk(daemon) as at:
        at.editor.type("a")
        at.editor.go_on()
        at.editor.go_on()
        at.editor.interrupt()
        at.editor.type("b")
        await at.sees("ab")


async def test_an_interrupt_at_rest_leaves(daemon: Client) -> None:
    async with desk(daemon) as at:
        at.editor.type("a")
        await at.sees("a")
        at.editor.interrupt()
        await asyncio.wait_for(at.running, GUARD_S)


async def test_leaving_ends_what_the_model_writes(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_at = 0
    async with desk(daemon) as at:
        at.editor.type("a")
        at.editor.go_on()
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
        at.editor.leave()
        await asyncio.wait_for(at.running, GUARD_S)


async def test_a_search_holds_nobody_up(daemon: Client, fake: FakeDaemon) -> None:
    fake.pause_search_at = 0
    async with desk(daemon) as at:
        for text in ("a", "ab"):
            at.editor.type(text[-1])
            await at.sees(text)
            await asyncio.wait_for(fake.paused.wait(), GUARD_S)
            fake.paused.clear()
        at.editor.go_back()
        await at.sees("a")
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
        fake.go_on.set()
        await at.sees("a", letters("a", 32))


async def test_much_text_is_shown_whole(daemon: Client, fake: FakeDaemon) -> None:
    fake.chunk_tokens = 1000
    async with daemon.session() as session:
        at = Desk(Editor(session, {"max_tokens": 3 * MAX_WAITING_CHARACTERS}))
        at.editor.type("a")
        at.editor.go_on()
        await at.sees("a" + letters("a", 3 * MAX_WAITING_CHARACTERS))
        at.editor.leave()
        await at.running


@pytest.mark.parametrize("loss", ["stopped", "deleted"])
async def test_a_lost_session_ends_it(daemon: Client, fake: FakeDaemon, loss: str) -> None:
    async with desk(daemon) as at:
        at.editor.type("a")
        await at.sees("a", letters("a", 32))
        if loss == "stopped":
            await fake.stop()
        else:
            (session_id,) = fake.sessions
            await daemon.delete_session(session_id)
        at.editor.type("b")
        with pytest.raises(client.Unavailable if loss == "stopped" else client.Aborted):
            await asyncio.wait_for(at.running, GUARD_S)
