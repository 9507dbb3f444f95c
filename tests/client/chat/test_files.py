"""Texts from files and to files: any fault is a sentence."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cellwire.client.commands.chat import files


def test_what_is_saved_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    text = "né\n👨‍👩‍👧\t\x1b"
    files.save("~/text.txt", text)
    assert files.exists("~/text.txt")
    assert (tmp_path / "text.txt").read_bytes() == text.encode()
    assert files.load(f" {tmp_path}/text.txt ") == text


def test_line_ends_and_a_byte_order_mark_are_mended(tmp_path: Path) -> None:
    (tmp_path / "dos.txt").write_bytes("\ufeffa\r\nb\rc\n".encode())
    assert files.load(str(tmp_path / "dos.txt")) == "a\nb\nc\n"


def test_every_fault_says_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fault(name: str) -> str:
        with pytest.raises(files.FileProblem) as raised:
            files.load(name)
        return str(raised.value)

    (tmp_path / "latin.txt").write_bytes(b"caf\xe9")
    assert "is not UTF-8: byte 0xE9 at 3" in fault(str(tmp_path / "latin.txt"))
    assert "there is no file" in fault(str(tmp_path / "none"))
    assert "not a regular file" in fault(str(tmp_path))
    assert "needs a name" in fault(" ")
    assert "U+0000" in fault("a\0b")
    assert "cannot read" in fault("x" * 5_000)
    assert "home" in fault("~nobody-of-this-name/x")
    assert not files.exists("x" * 5_000)
    assert not files.exists("")
    monkeypatch.setattr(files, "MAX_BYTES", 3)
    assert "MiB" in fault(str(tmp_path / "latin.txt"))
    with pytest.raises(files.FileProblem, match="cannot write"):
        files.save(str(tmp_path / "none" / "x"), "a")


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(files.FileProblem, match="not a regular file"):
        files.load(str(tmp_path / "pipe"))
