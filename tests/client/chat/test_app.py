"""Keys and drawing, in Textual without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.client.chat.desk import GUARD_S
from tests.client.fake.daemon import FakeDaemon
from textual import events
from textual.pilot import Pilot
from textual.widgets import Input, Static

from cellwire.client.commands.chat import app as app_module
from cellwire.client.commands.chat.app import ChatApp
from cellwire.client.commands.chat.editor import Editor
from cellwire.client.commands.chat.link import Link
from cellwire.client.commands.chat.program import run_app
from cellwire.client.commands.chat.view import TextView
from cellwire.client.commands.chat.worker import Worker


class Screen:
    """What a person sees and does."""

    def __init__(self, app: ChatApp, pilot: Pilot[None], editor: Editor) -> None:
        self.app = app
        self.editor = editor
        self._pilot = pilot

    async def press(self, *keys: str) -> None:
        await self._pilot.press(*keys)

    async def resize(self, columns: int, rows: int) -> None:
        await self._pilot.resize_terminal(columns, rows)

    @property
    def rows(self) -> list[str]:
        view = self.app.query_one(TextView)
        return [view.render_line(y).text.rstrip() for y in range(view.size.height)]

    def line(self, name: str) -> str:
        field = self.app.query_one(f"#{name}", Static)
        return str(field.content) if field.display else ""

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(GUARD_S):
            while not condition():
                await self._pilot.pause()


@asynccontextmanager
async def screen(
    target: str, model: str | None = None, *, size: tuple[int, int] = (80, 24)
) -> AsyncIterator[Screen]:
    link = Link(target, model, None)
    await link.open()
    editor = Editor()
    worker = Worker(editor, link, {"max_tokens": 3})
    working = asyncio.create_task(worker.run())
    app = ChatApp(editor, worker)
    try:
        async with app.run_test(size=size) as pilot:
            yield Screen(app, pilot, editor)
    finally:
        editor.leave()
        await asyncio.wait_for(working, GUARD_S)


async def test_keys_make_one_text(fake: FakeDaemon) -> None:
    fake.continuations = ["sh "]
    async with screen(fake.target) as on:
        await on.press("a", "b", "backspace")
        await on.until(lambda: on.rows[0] == "ash")
        await on.press("tab")
        await on.until(lambda: on.rows[0] == "ash sh")
        await on.press("enter")
        await on.until(lambda: on.editor.buffer.text == "ash abc")
        await on.press("home", "delete", "end", "x", "ctrl+z", "ctrl+z", "ctrl+y")
        assert on.editor.buffer.text == "sh abc"
        await on.press("ctrl+e", "ctrl+w", "ctrl+left", "right", "left", "ctrl+right")
        assert on.editor.buffer.before == "sh"
        await on.press("ctrl+a", "ctrl+k", "c", "ctrl+j", "d", "ctrl+u", "ctrl+u", "ctrl+h")
        await on.until(lambda: on.editor.buffer.text == "")


@pytest.mark.parametrize("text", ["e\u0301", "👨\u200d👩\u200d👧", "🇩🇪", "世"])
async def test_characters_that_come_in_parts_are_erased_whole(target: str, text: str) -> None:
    async with screen(target, "judge") as on:
        for character in text:
            on.app.post_message(events.Key("character", character))
        await on.until(lambda: on.editor.buffer.text == text)
        assert on.rows[0] == text
        await on.press("backspace")
        assert on.editor.buffer.text == ""


async def test_a_paste_is_one_step(fake: FakeDaemon) -> None:
    async with screen(fake.target, "judge") as on:
        on.app.post_message(events.Paste("ab\r\ncd\r\x1b[31m"))
        await on.until(lambda: on.editor.buffer.text == "ab\ncd\n\x1b[31m")
        assert on.rows[:3] == ["ab", "cd", "␛[31m"]
        await on.press("ctrl+z")
        assert on.editor.buffer.text == ""


async def test_completions_are_chosen_from_a_list(fake: FakeDaemon) -> None:
    fake.continuations = ["sh ", "nt ", "dd "]
    async with screen(fake.target) as on:
        await on.press("a")
        await on.until(lambda: on.rows[0] == "ash")
        assert on.line("list") == ""
        await on.press("f2", "down")
        assert on.rows[0] == "ant"
        assert [line.split()[0] for line in on.line("list").splitlines()] == ["sh·", "▸", "dd·"]
        await on.press("up", "up")
        assert on.rows[0] == "add"
        await on.press("enter")
        assert on.editor.buffer.text == "add "
        assert on.line("list") == ""
        await on.press("f2", "escape")
        assert not on.editor.listing


async def test_the_cursor_goes_up_and_down_in_rows(target: str) -> None:
    async with screen(target, "judge", size=(12, 12)) as on:
        on.editor.type("one two three four\nab\nfive six")
        await on.press("home", "right", "right", "right", "right", "right", "up", "up")
        assert on.editor.buffer.before == "one two three"
        await on.press("up", "up", "up")
        assert on.editor.buffer.cursor == 0
        await on.press("down", "end", "down", "down")
        assert on.editor.buffer.before.endswith("five six")
        await on.press("pageup")
        assert on.editor.buffer.cursor == 0
        await on.press("pagedown", "ctrl+home", "ctrl+end")
        assert on.editor.buffer.after == ""


async def test_stopping_and_leaving(fake: FakeDaemon) -> None:
    fake.pause_at = 2
    fake.chunk_tokens = 2
    async with screen(fake.target) as on:
        for key in ("escape", "ctrl+c"):
            await on.press("x", "enter")
            await on.until(lambda: on.editor.buffer.text.endswith("yz"))
            assert "Esc stop" in on.line("keys")
            await on.press(key)
            assert not on.editor.generating
        await on.press("escape", "ctrl+c")
        assert on.editor.leaving
    for key in ("ctrl+d", "ctrl+q"):
        async with screen(fake.target) as on:
            await on.press(key)
            assert on.editor.leaving


async def test_help_is_a_page_that_any_key_closes(target: str) -> None:
    async with screen(target, size=(40, 10)) as on:
        await on.press("f1", "down", "pagedown")
        assert on.app.query_one("#help").display
        assert "^C leave" in on.line("keys")
        await on.press("x")
        assert not on.app.query_one("#help").display
        assert on.editor.buffer.text == ""
        await on.press("x")
        assert on.editor.buffer.text == "x"


async def test_a_text_is_saved_and_opened(target: str, tmp_path: Path) -> None:
    async def answer(key: str, name: str) -> None:
        await on.press(key)
        on.app.query_one(Input).value = name
        await on.press("enter")

    file = tmp_path / "t.txt"
    async with screen(target) as on:
        await on.press("a", "b")
        await answer("ctrl+s", str(file))
        assert on.line("notice") == f"saved to {file}"
        await on.press("c", "ctrl+s", "enter")  # its own file needs no question
        assert file.read_text() == "abc"
        file.with_name("other.txt").write_text("x\r\ny")
        await answer("ctrl+s", str(file.with_name("other.txt")))
        await on.until(lambda: "exists" in on.editor.notice)
        await on.press("escape")
        await answer("ctrl+o", str(file.with_name("none")))
        await on.until(lambda: "there is no file" in on.editor.notice)
        await answer("ctrl+o", str(file.with_name("other.txt")))
        assert on.editor.buffer.text == "x\ny"
        await on.press("z")
        file.with_name("third.txt").write_text("")
        await answer("ctrl+s", str(file.with_name("third.txt")))
        await on.press("enter")
        assert file.with_name("third.txt").read_text() == "x\nyz"
        await on.press("ctrl+z", "ctrl+z")
        assert on.editor.buffer.text == "abc"
        await on.press("ctrl+s", "q", "ctrl+c")
        assert not on.editor.leaving
        on.app.post_message(events.Paste("p"))
        await on.until(lambda: on.editor.buffer.text == "abcp")


async def test_colours_show_surprise(target: str) -> None:
    async with screen(target) as on:
        await on.press("a", "c", "f3")
        view = on.app.query_one(TextView)

        def colours() -> list[str]:
            styles = [segment.style for segment in view.render_line(0)]
            return [style.color.name if style and style.color else "" for style in styles[:2]]

        await on.until(lambda: colours() == ["green", "red"])
        assert "bits 0+ 1+ 3+ 6+ 10+" in on.line("state")
        await on.press("f3", "f8", "f7", "f7")
        await on.until(lambda: colours() == ["", ""])
        assert "temperature 0.7" in on.line("state")


async def test_without_colours_brackets_tell_the_suggestion(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    fake.continuations = ["sh "]
    async with screen(fake.target) as on:
        await on.press("a")
        await on.until(lambda: on.rows[0] == "a[sh ]")
        await on.press("f3")
        assert "NO_COLOR" in on.line("notice")
        await on.press("tab")
        assert on.editor.buffer.text == "ash "


async def test_a_classifier_shows_its_labels(target: str) -> None:
    async with screen(target, "judge") as on:
        await on.press("a", "f3")
        assert "only classifies" in on.line("notice")
        await on.until(lambda: on.line("labels").startswith("good  0.7500"))


async def test_other_widths(fake: FakeDaemon) -> None:
    fake.continuations = ["x"]
    async with screen(fake.target, size=(40, 12)) as on:
        on.editor.type("one two three four five six seven eight nine")
        await on.until(lambda: on.rows[1].startswith("nine"))
        assert on.line("keys").startswith("^C leave")
        await on.resize(20, 12)
        await on.until(lambda: on.rows[0] == "one two three four")
        await on.until(lambda: len(on.line("keys")) <= 20)
        on.editor.type(" " * 60)  # the cursor hangs over the edge, and is drawn
        await on.press("end")
        await on.until(lambda: all(len(row) <= 20 for row in on.rows))


async def test_a_fault_of_the_worker_ends_the_program(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Headless(ChatApp):
        async def run_async(self, **_: object) -> None:
            await super().run_async(headless=True)

    monkeypatch.setattr(app_module, "ChatApp", Headless)
    link = Link(fake.target, None, None)
    await link.open()
    editor = Editor()
    worker = Worker(editor, link, {"max_tokens": 3})

    async def fail() -> bool:
        raise ZeroDivisionError

    monkeypatch.setattr(worker, "_work", fail)
    with pytest.raises(ZeroDivisionError):
        await asyncio.wait_for(run_app(editor, worker), GUARD_S)
