"""The command: turns by lines without a terminal, the screen in one."""

from __future__ import annotations

import io
import signal
import sys

import pytest
from tests.client.real.daemon import RealDaemon

from cellwire.client.commands.chat import chat, program
from cellwire.client.commands.chat.editor import Editor
from cellwire.client.commands.chat.worker import Worker
from cellwire.client.errors import CellwireError
from cellwire.client.generation import Generation


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def lines(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))


def test_each_line_is_continued(
    real: RealDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines(monkeypatch, "a\n\nB\nx\n/quit\nnever\n")
    chat(target=real.target, max_tokens=2, seed=7)
    captured = capsys.readouterr()
    assert captured.out == "bc\nde\nyz\n"
    assert "alphabet, 2 x 26 lstm, 27 symbols, seed 7" in captured.err
    assert "does not know the symbol 'B'" in captured.err


def test_a_classifier_answers_with_its_scores(
    real: RealDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lines(monkeypatch, "\nné\n")
    chat(target=real.target, model="judge")
    assert capsys.readouterr().out == "good 0.7500  bad 0.2500\n"


def test_ctrl_c_ends_a_line_and_not_the_chat(
    real: RealDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    cancelled: list[Generation] = []
    cancel = Generation.cancel

    def note(generation: Generation) -> None:
        cancelled.append(generation)
        cancel(generation)

    def interrupt(text: str) -> None:
        sys.stdout.write(text)
        if not cancelled and text.startswith("b"):
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(Generation, "cancel", note)
    monkeypatch.setattr("cellwire.client.commands.chat.turns.show", interrupt)
    lines(monkeypatch, "a\nx\n")
    chat(target=real.target, max_tokens=1000)
    assert len(cancelled) == 1
    assert capsys.readouterr().out.count("\n") == 2


@pytest.mark.parametrize("fails", [False, True])
def test_in_a_terminal_the_text_is_left_on_it(
    real: RealDaemon, monkeypatch: pytest.MonkeyPatch, *, fails: bool
) -> None:
    async def write(editor: Editor, worker: Worker) -> None:
        editor.type("ab\x1b[2Jc")
        assert editor.temperature == 0.5
        await worker.link.close()
        if fails:
            raise CellwireError("no")

    monkeypatch.delenv("TERM", raising=False)
    monkeypatch.setattr(program, "run_app", write)
    monkeypatch.setattr(sys, "stdin", Terminal())
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    if fails:
        with pytest.raises(CellwireError):
            chat(target=real.target, temperature=0.5)
    else:
        chat(target=real.target, temperature=0.5)
    assert "ab" in out.getvalue()
    assert "\x1b" not in out.getvalue()


def test_a_dumb_terminal_has_lines(
    real: RealDaemon, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TERM", "dumb")
    monkeypatch.setattr(sys, "stdin", Terminal("a\n"))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    chat(target=real.target, max_tokens=1)
    assert capsys.readouterr().out == "b\n"
