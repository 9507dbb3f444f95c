"""Chat in a terminal: keys and drawing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from prompt_toolkit.application import create_app_session
from prompt_toolkit.input import PipeInput, create_pipe_input
from prompt_toolkit.output import DummyOutput
from tests.client.fake.daemon import FakeDaemon

from cellwire import client
from cellwire.client import Client
from cellwire.client.commands.chat import converse
from cellwire.client.commands.editor import Editor
from cellwire.client.commands.screen import MAX_DRAWN_CHARACTERS, status_of, text_of

GUARD_S = 20


class Drawing(DummyOutput):
    """What is drawn, in the order in which it is drawn."""

    def __init__(self) -> None:
        self._text = ""
        self._more = asyncio.Event()

    def write(self, data: str) -> None:
        self._text += data

    def flush(self) -> None:
        self._more.set()

    def forget(self) -> None:
        self._text = ""

    async def shows(self, text: str) -> None:
        async with asyncio.timeout(GUARD_S):
            while text not in self._text:
                self._more.clear()
                await self._more.wait()


@dataclass
class Terminal:
    keys: PipeInput
    drawing: Drawing
    capture: pytest.CaptureFixture[str]

    async def chat(self, daemon: Client, keys: str, *, model: str | None = None) -> str:
        """Chat with these keys, and more if they follow; return what stdout has afterwards."""
        self.keys.send_text(keys)
        with create_app_session(input=self.keys, output=self.drawing):
            async with daemon.session(model=model) as session:
                await asyncio.wait_for(converse(session, {"max_tokens": 3}), GUARD_S)
        return self.capture.readouterr().out


@pytest.fixture
def terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Terminal]:
    monkeypatch.setattr("cellwire.client.commands.chat._in_terminal", lambda: True)
    with create_pipe_input() as keys:
        yield Terminal(keys, Drawing(), capsys)


async def test_keys_make_one_text(daemon: Client, terminal: Terminal) -> None:
    enter, backspace, arrow, end = "\r", "\x7f", "\x1b[A", "\x04"
    chatting = asyncio.create_task(terminal.chat(daemon, f"abx{backspace}{arrow}{enter}y"))
    await terminal.drawing.shows("y")
    terminal.keys.send_text(end)
    assert await chatting == "abcdey\n"


async def test_a_paste_is_one_append(daemon: Client, terminal: Terminal, fake: FakeDaemon) -> None:
    assert await terminal.chat(daemon, "\x1b[200~ab cd\x1b[201~\x04") == "ab cd\n"
    assert fake.log.count("append") == 1


async def test_a_new_line_is_a_character(daemon: Client, terminal: Terminal) -> None:
    keys = "a\n\x1b\r\x1b[200~b\r\nc\x1b[201~\x04"
    assert await terminal.chat(daemon, keys, model="judge") == "a\n\nb\nc\n"


async def test_tab_accepts_what_is_drawn(
    daemon: Client, terminal: Terminal, fake: FakeDaemon
) -> None:
    fake.continuations = ["sh "]
    chatting = asyncio.create_task(terminal.chat(daemon, "a"))
    await terminal.drawing.shows("sh")
    terminal.keys.send_text("\t\x04")
    assert await chatting == "ash \n"


async def test_ctrl_c_stops_the_model_and_then_leaves(
    daemon: Client, terminal: Terminal, fake: FakeDaemon
) -> None:
    fake.pause_at = fake.chunk_tokens = 2
    chatting = asyncio.create_task(terminal.chat(daemon, "a\r"))
    await terminal.drawing.shows("bc")
    terminal.drawing.forget()
    terminal.keys.send_text("\x03")
    await terminal.drawing.shows("Tab")
    terminal.keys.send_text("\x03")
    assert await chatting == "abc\n"


async def test_a_notice_is_drawn(daemon: Client, terminal: Terminal) -> None:
    chatting = asyncio.create_task(terminal.chat(daemon, "aB"))
    await terminal.drawing.shows("the model does not know the symbol 'B'")
    terminal.keys.send_text("\x04")
    assert await chatting == "a\n"


async def test_a_lost_session_leaves_the_text(
    daemon: Client, terminal: Terminal, fake: FakeDaemon
) -> None:
    fake.pause_at = 0
    chatting = asyncio.create_task(terminal.chat(daemon, "a\r"))
    await asyncio.wait_for(fake.paused.wait(), GUARD_S)
    (session_id,) = fake.sessions
    await daemon.delete_session(session_id)
    with pytest.raises(client.Aborted):
        await chatting
    assert terminal.capture.readouterr().out == "a\n"


async def test_a_closed_terminal_ends_it(daemon: Client, terminal: Terminal) -> None:
    chatting = asyncio.create_task(terminal.chat(daemon, "a"))
    await terminal.drawing.shows("a")
    terminal.keys.close()
    assert await asyncio.wait_for(chatting, GUARD_S) == "a\n"


async def test_a_model_of_words_gets_lines(daemon: Client, terminal: Terminal) -> None:
    ctrl_c, enter = "\x03", "\r"
    keys = f"b{enter}dropped{ctrl_c}x{enter}\x04"
    assert await terminal.chat(daemon, keys, model="words") == "cde\nyza\n"


async def test_what_is_drawn(daemon: Client) -> None:
    async with daemon.session() as session:
        editor = Editor(session, {"max_tokens": 3})
        editor.text, editor.completion = "a" * MAX_DRAWN_CHARACTERS + "b", "cd"
        assert text_of(editor) == [
            ("", "a" * (MAX_DRAWN_CHARACTERS - 1) + "b"),
            ("[SetCursorPosition]", ""),
            ("fg:ansibrightblack", "cd"),
        ]
        editor.completion = "e\n"
        assert text_of(editor)[2] == ("fg:ansibrightblack", "e↵")
        editor.completion = ""
        assert text_of(editor)[2] == ("fg:ansibrightblack", " ")
        assert "Tab" in status_of(editor)[0][1]
        editor.go_on()
        assert status_of(editor) == [("fg:ansibrightblack", "Ctrl-C: stop")]
        editor.notice = "no"
        assert status_of(editor) == [("fg:ansired", "no")]
