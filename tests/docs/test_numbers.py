"""The numbers of pages and proto comments are those of the code."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

import pytest
from tests.docs.limits import OTHER_NUMBERS, PROTOCOL, STATEMENTS, Statement

ROOT = Path(__file__).parents[2]
PROTOS = sorted((ROOT / "protos" / "cellwire" / "v1").glob("*.proto"))

_NUMBER = r"(\d+(?:,\d{3})*(?:\.\d+)?)"
_STANDING_ALONE = re.compile(rf"(?<![\w.]){_NUMBER}")
_COMMENT_MARK = re.compile(r"^\s*(?://|#)\s?")


def flowing(text: str) -> str:
    """Return a text on one line, without the marks of comments."""
    return " ".join(" ".join(_COMMENT_MARK.sub("", line) for line in text.splitlines()).split())


@cache
def text_of(page: str) -> str:
    return flowing((ROOT / page).read_text(encoding="utf-8"))


def shown(number: float) -> str:
    return f"{int(number):,}" if number == int(number) else f"{number:g}"


def id_of(statement: Statement) -> str:
    return f"{Path(statement.page).name}: {statement.words}"


@pytest.mark.parametrize("statement", STATEMENTS, ids=id_of)
def test_a_number_is_the_codes(statement: Statement) -> None:
    words = re.escape(statement.words).replace(r"\{\}", _NUMBER)
    found = [match.groups() for match in re.finditer(words, text_of(statement.page))]
    assert found, f"{statement.page} no longer says {statement.words!r}: change the row as well"
    assert found == [tuple(map(shown, statement.numbers))] * len(found)


def unstated(text: str, page: str) -> list[str]:
    """Return the numbers of a text, with what is before them, that no statement has."""
    stated = [s.words.format(*map(shown, s.numbers)) for s in STATEMENTS if s.page == page]
    for words in sorted((*stated, *OTHER_NUMBERS), key=len, reverse=True):
        text = text.replace(words, "")
    return [
        text[max(0, match.start() - 40) : match.end()]
        for match in _STANDING_ALONE.finditer(text)
        if match[1] not in {"0", "1"}
    ]


@pytest.mark.parametrize("path", PROTOS, ids=lambda path: path.name)
def test_no_number_of_a_proto_comment_is_left_out(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    comments = flowing("\n".join(line for line in lines if line.lstrip().startswith("//")))
    assert unstated(comments, str(path.relative_to(ROOT))) == []


def test_no_number_of_the_protocols_table_is_left_out() -> None:
    content = (ROOT / PROTOCOL).read_text(encoding="utf-8")
    _, heading, rest = content.partition("## Limits and defaults")
    assert heading
    assert unstated(flowing(rest.partition("\n## ")[0]), PROTOCOL) == []
