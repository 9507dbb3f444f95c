from __future__ import annotations

import os
import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from cellwire.exporter.report.printable import printable_line, printable_lines

ANY = st.text(st.characters())


@given(ANY)
def test_a_line_can_be_written_and_moves_no_cursor(text: str) -> None:
    line = printable_line(text)
    line.encode("utf-8")
    assert not any(unicodedata.category(c) in {"Cc", "Cs", "Zl", "Zp"} for c in line)
    assert printable_line(line) == line


@given(ANY)
def test_lines_keep_their_line_feeds_and_tabs_only(text: str) -> None:
    lines = printable_lines(text)
    assert lines.count("\n") == text.count("\n")
    assert lines.count("\t") == text.count("\t")
    assert [printable_line(line) for line in text.split("\n")] == [
        line.replace("\t", r"\t") for line in lines.split("\n")
    ]


def test_escapes_are_as_in_python() -> None:
    assert printable_line("a\x1b[2J\nb\u202e" + os.fsdecode(b"caf\xe9")) == (
        r"a\x1b[2J\nb\u202ecaf\xe9"
    )
