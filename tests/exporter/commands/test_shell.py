from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cellwire.exporter.commands.shell import path_word, shell_line

BASH = shutil.which("bash") or "bash"
# What an argument can hold: any bytes but zero.
WORDS = st.binary().map(lambda data: os.fsdecode(data.replace(b"\0", b"")))


@given(st.lists(WORDS, max_size=4))
def test_a_shell_reads_the_same_words(words: list[str]) -> None:
    line = shell_line(["printf", "%s\\0", *words])
    line.encode("utf-8")
    assert "\n" not in line
    result = subprocess.run([BASH, "-c", line], stdout=subprocess.PIPE, check=True)
    assert result.stdout.split(b"\0")[: len(words)] == [os.fsencode(word) for word in words]


def test_plain_words_stay_as_they_are() -> None:
    assert shell_line(["cellwire", "my text.txt", "é"]) == "cellwire 'my text.txt' 'é'"


@pytest.mark.parametrize(("path", "word"), [("-x", "./-x"), ("a/-x", "a/-x"), ("/x", "/x")])
def test_a_path_is_no_option(path: str, word: str) -> None:
    assert path_word(Path(path)) == word
