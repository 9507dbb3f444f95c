"""How commands end: each error is one line on stderr, and an exit status."""

from __future__ import annotations

import errno
import sys

import pytest
from tests.cases.command_line import run

from cellwire.client.commands.outcome import Failed, Misused, fail, standard_streams, status_of
from cellwire.client.errors import NotFound


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (Misused("no"), 2, "cellwire: no\n"),
        (Failed("no"), 1, "cellwire: no\n"),
        (NotFound("there is\nno such"), 1, "cellwire: there is no such\n"),
        (KeyboardInterrupt(), 130, ""),
        (MemoryError(), 1, "cellwire: there is not enough memory\n"),
        (FileNotFoundError(errno.ENOENT, "No such file", "x"), 1, "cellwire: x: No such file\n"),
        (OSError(errno.EIO, "broken"), 1, "cellwire: cannot read or write: broken\n"),
        (BrokenPipeError(errno.EPIPE, "pipe"), 0, ""),
    ],
)
def test_each_error_has_its_line_and_its_status(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    error: BaseException,
    status: int,
    line: str,
) -> None:
    monkeypatch.setattr("cellwire.client.commands.outcome.stop_writing", lambda: None)

    def command() -> int:
        raise error

    assert status_of(command) == status
    assert capsys.readouterr().err == line


def test_a_command_can_end_with_a_reason() -> None:
    with pytest.raises(Failed, match="why"):
        fail("why")


def test_closed_streams_are_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("stdin", "stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    standard_streams()
    assert sys.stdin.read() == ""
    sys.stdout.write("nothing")
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        stream.close()


def test_without_the_extra_the_script_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "typer", None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, "cellwire.client.commands.app", raising=False)
    ran = run(["generate"])
    assert (ran.status, ran.is_one_line) == (2, True)
    assert "pip install 'cellwire[cli]'" in ran.err
    ran = run(["--version"])
    assert (ran.status, ran.err) == (0, "")
    assert ran.out.strip()


def test_a_missing_module_of_our_own_is_no_missing_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cellwire.client.commands.app", None)
    ran = run(["generate"])
    assert (ran.status, ran.is_one_line) == (1, True)
    assert "fault of Cellwire" in ran.err


def test_the_version_of_the_library_is_that_of_the_package() -> None:
    from importlib.metadata import version

    import cellwire.client

    assert cellwire.client.__version__ == version("cellwire")
