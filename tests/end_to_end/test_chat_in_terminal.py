"""`cellwire chat` in a real terminal, with a real daemon and the built-in model."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from rich.cells import cell_len
from tests.end_to_end.conftest import CELLWIRE, GUARD_S, Served, served

pytestmark = pytest.mark.skipif(
    shutil.which("tmux") is None,
    reason="needs tmux, a terminal in a terminal: apt-get install tmux, or brew install tmux",
)

_POLL_S = 0.02
"""tmux tells nobody when a screen changes."""
SIZES = [(80, 24), (40, 24), (40, 10)]


@dataclass
class Terminal:
    """A terminal with a chat. What is typed and shown goes through tmux."""

    columns: int
    rows: int
    socket: str = field(default_factory=lambda: f"cellwire-{uuid.uuid4().hex}")

    def tmux(self, *arguments: str) -> str:
        command = ["tmux", "-L", self.socket, "-f", os.devnull, *arguments]
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=GUARD_S, check=True, env=self._locale
        )
        return done.stdout

    def start(self, command: str) -> None:
        size = ("-x", str(self.columns), "-y", str(self.rows))
        # What a command leaves on the screen is looked at when it has ended.
        self.tmux("new-session", "-d", "-s", "chat", *size, f"{command}; echo status $?; exec cat")

    def type(self, text: str) -> None:
        self.tmux("send-keys", "-t", "chat", "-l", text)

    def press(self, *keys: str) -> None:
        self.tmux("send-keys", "-t", "chat", *keys)

    def paste(self, text: str) -> None:
        self.tmux("set-buffer", text)
        self.tmux("paste-buffer", "-p", "-t", "chat")

    def screen(self) -> str:
        return self.tmux("capture-pane", "-p", "-t", "chat")

    def shows(self, *texts: str) -> str:
        """Wait until all of these are on the screen, and return it."""
        limit = time.monotonic() + GUARD_S
        screen = self.screen()
        while not all(text in screen for text in texts):
            assert time.monotonic() < limit, f"no {texts} on:\n{screen}"
            time.sleep(_POLL_S)
            screen = self.screen()
        return screen

    @property
    def _locale(self) -> dict[str, str]:
        return os.environ | {"LC_ALL": "C.UTF-8"}


@contextmanager
def chatting(
    daemon: Served, columns: int = 80, rows: int = 24, variables: str = ""
) -> Iterator[Terminal]:
    terminal = Terminal(columns, rows)
    options = f"--target {daemon.address} --seed 7"
    terminal.start(f"env {variables} {shlex.quote(str(CELLWIRE))} chat {options}")
    try:
        terminal.shows("austen  offset 0", "^C leave")
        yield terminal
    finally:
        terminal.tmux("kill-server")


@pytest.fixture(scope="module")
def austen() -> Iterator[Served]:
    with served() as daemon:
        yield daemon


@pytest.mark.parametrize(("columns", "rows"), SIZES)
def test_a_text_is_written_in_turns(austen: Served, columns: int, rows: int) -> None:
    with chatting(austen, columns, rows) as terminal:
        terminal.type("It is a truth universally acknowledged, that a single man ")
        terminal.shows("single man")
        terminal.press("F2")
        terminal.shows("▸", " %")
        terminal.press("Down", "Tab", "Enter")
        screen = terminal.shows("/s", "^C leave")
        assert all(cell_len(line) <= columns for line in screen.splitlines())
        assert len(screen.rstrip("\n").splitlines()) == rows
        terminal.press("C-z", "C-z")
        terminal.shows("single man", " 58 " if columns > 40 else "@58 ")
        terminal.press("F1")
        terminal.shows("Enter            the model continues", "^C leave")
        terminal.press("Escape", "C-c")
        terminal.shows("It is a truth", "status 0")


def test_it_is_left_with_the_text_on_the_screen(austen: Served) -> None:
    for keys in (["C-c"], ["C-d"], ["C-q"]):
        with chatting(austen) as terminal:
            terminal.type("Emma ")
            terminal.shows("Emma", "offset 5")
            terminal.press(*keys)
            assert terminal.shows("status 0").startswith("Emma")


def test_the_model_is_stopped(austen: Served) -> None:
    with chatting(austen) as terminal:
        terminal.type("Emma ")
        terminal.press("Enter", "Escape")
        terminal.shows("Enter continue")
        terminal.press("C-r")
        terminal.shows("tokens/s")


def test_pastes_and_control_characters_are_harmless(austen: Served) -> None:
    with chatting(austen) as terminal:
        terminal.paste("one\ntwo\u202ethree")
        screen = terminal.shows("unknown to the model", "U+202E")
        assert screen.startswith("one\ntwo·three")
        terminal.press("C-w")  # a format character is a part of its word
        terminal.shows("offset 4 ")
        terminal.type("x\u0301y")
        terminal.shows("offset 6 ")
        terminal.press("BSpace", "BSpace")
        terminal.shows("offset 4 ")


def test_a_text_is_kept_in_a_file(austen: Served, tmp_path: Path) -> None:
    with chatting(austen) as terminal:
        terminal.type("Emma ")
        terminal.press("C-s")
        terminal.shows("save as")
        terminal.type(str(tmp_path / "emma.txt"))
        terminal.press("Enter")
        terminal.shows("saved to")
        assert (tmp_path / "emma.txt").read_text() == "Emma "
        terminal.press("C-u", "C-o")
        terminal.shows("\nopen\n")  # what is typed before the question is text
        terminal.type(str(tmp_path / "emma.txt"))
        terminal.press("Enter")
        terminal.shows("opened", "offset 5")


def test_without_colours_nothing_is_coloured(austen: Served) -> None:
    with chatting(austen, variables="NO_COLOR=1") as terminal:
        terminal.type("Emma Woodh")
        terminal.shows("Emma Woodh[ouse")
        coloured = terminal.tmux("capture-pane", "-p", "-e", "-t", "chat")
        assert "\x1b[3" not in coloured.replace("\x1b[39m", "").replace("\x1b[3m", "").replace(
            "\x1b[3;7m", ""
        )


def test_surprise_is_coloured(austen: Served) -> None:
    with chatting(austen) as terminal:
        terminal.type("Emma wqx")
        terminal.press("F3")
        terminal.shows("bits 0+")
        limit = time.monotonic() + GUARD_S
        while "\x1b[31m" not in terminal.tmux("capture-pane", "-p", "-e", "-t", "chat", "-E", "0"):
            assert time.monotonic() < limit
            time.sleep(_POLL_S)


def test_a_daemon_is_lost_and_found() -> None:
    with served() as first:
        address = first.address
        with chatting(first, 40, 12) as terminal:
            terminal.type("Emma ")
            terminal.shows("offset 5")
            first.process.kill()
            first.process.wait()
            terminal.type("was ")
            terminal.shows("your text is kept")
            with served("--listen", address):
                terminal.shows("Emma was", "offset 9")
                terminal.press("Enter")
                terminal.shows("/s")


@pytest.mark.parametrize("package", ["textual", "regex"])
def test_a_missing_package_is_named(austen: Served, package: str, tmp_path: Path) -> None:
    terminal = Terminal(100, 10)
    program = tmp_path / "chat.py"
    program.write_text(
        f"import sys\nsys.modules[{package!r}] = None\n"
        "from cellwire.client.commands.cli import main\n"
        f"sys.argv = ['cellwire', 'chat', '--target', {austen.address!r}]\nmain()\n"
    )
    terminal.start(f"{shlex.quote(sys.executable)} {program}")
    try:
        screen = terminal.shows("status 2")
    finally:
        terminal.tmux("kill-server")
    assert "chat needs the cli extra: pip install 'cellwire[cli]'" in screen


def test_a_daemon_that_is_not_there_is_said_before_the_screen() -> None:
    terminal = Terminal(100, 10)
    terminal.start(f"{shlex.quote(str(CELLWIRE))} chat --target 127.0.0.1:1")
    try:
        screen = terminal.shows("status 1")
    finally:
        terminal.tmux("kill-server")
    assert "127.0.0.1:1" in screen
    assert "Traceback" not in screen
