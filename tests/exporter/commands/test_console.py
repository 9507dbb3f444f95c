"""What the caller can mend is one line and status 2."""

from __future__ import annotations

import errno
import io
import sys

import pytest
import typer
from rich.console import Console

from cellwire.exporter.commands.console import one_line_errors, print_result
from cellwire.exporter.errors import RunError


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (RunError("a\nb \x1b[2J is no run"), r"a\nb \x1b[2J is no run"),
        (OSError(errno.ENOSPC, "No space left on device", "runs/x"), "runs/x: No space left"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (PermissionError(), "PermissionError"),
        (MemoryError(), "there is not enough memory; train with a lower --hidden"),
        (MemoryError("Unable to allocate 9 TiB"), "memory (Unable to allocate 9 TiB); train with"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes\nframe #0"), "9 bytes)"),
        (RuntimeError("CUDA error: out of memory"), "there is not enough memory (CUDA error"),
        (ModuleNotFoundError(name="torch"), "torch is missing; pip install 'cellwire[train]'"),
    ],
)
def test_errors_are_one_line(
    error: BaseException, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as exit_info, one_line_errors():
        raise error
    assert exit_info.value.exit_code == 2
    (shown,) = capsys.readouterr().err.splitlines()
    assert shown.startswith("cellwire: ")
    assert line in shown


def test_ctrl_c_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(typer.Exit) as exit_info, one_line_errors():
        raise KeyboardInterrupt
    assert exit_info.value.exit_code == 130
    assert capsys.readouterr().err == "cellwire: stopped\n"


@pytest.mark.parametrize("error", [RuntimeError("a bug"), BrokenPipeError(errno.EPIPE, "pipe")])
def test_bugs_and_readers_that_have_enough_are_left_to_others(error: Exception) -> None:
    with pytest.raises(type(error)), one_line_errors():
        raise error


def test_a_terminal_that_is_gone_hears_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone(io.StringIO):
        def write(self, _text: str) -> int:
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("cellwire.exporter.commands.console.console", Console(file=Gone()))
    with pytest.raises(typer.Exit), one_line_errors():
        raise RunError("none")


def test_results_can_be_printed_in_any_encoding(monkeypatch: pytest.MonkeyPatch) -> None:
    for encoding, line in (("ascii", b"caf\\xe9\\x1b\n"), ("utf-8", b"caf\xc3\xa9\\x1b\n")):
        out = io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding=encoding))
        print_result("café\x1b")
        sys.stdout.flush()
        assert out.getvalue() == line
        monkeypatch.undo()
