"""What docs/protocol.md shows is what the daemon answers."""

from __future__ import annotations

import asyncio
import re

import pytest
from tests.docs.exchanges import BLOCK, PAGE, STEP, play

from cellwire.v1 import generation_pb2, models_pb2, sessions_pb2

CONTENT = PAGE.read_text(encoding="utf-8")
BLOCKS = list(BLOCK.finditer(CONTENT))
NUMBER = re.compile(r"-?\d+\.\d+(?:e-?\d+)?")
KEY = re.compile(r'"(\w+)":')


@pytest.fixture(scope="module")
def played() -> list[str]:
    return [block[3] for block in BLOCK.finditer(asyncio.run(play(CONTENT)))]


def heading_of(block: re.Match[str]) -> str:
    headings: list[str] = re.findall(r"^#+ (.*)$", CONTENT[: block.start()], re.MULTILINE)
    return headings[-1]


@pytest.mark.parametrize("place", range(len(BLOCKS)), ids=[heading_of(b) for b in BLOCKS])
def test_the_page_shows_what_the_daemon_answers(place: int, played: list[str]) -> None:
    kind, loose, page = BLOCKS[place].groups()
    answers = played[place]
    if loose:  # what was drawn, or depends on the moment, or on the model's file
        assert form(answers) == form(page)
        return
    if kind == "console":  # buf sets its white space at random
        page, answers = ("".join(text.split()) for text in (page, answers))
    assert NUMBER.sub("#", answers) == NUMBER.sub("#", page)
    # Another processor may differ in the last bits.
    numbers = [[float(number) for number in NUMBER.findall(text)] for text in (answers, page)]
    assert numbers[0] == pytest.approx(numbers[1], rel=1e-3, abs=1e-3)


def form(text: str) -> list[tuple[str, set[str]]]:
    """Return who says something in each step, and the fields it has."""
    return [(step[:1], set(KEY.findall(step))) for step in STEP.findall(text)]


def test_the_page_shows_everything_there_is() -> None:
    shown = "".join(block[3] for block in BLOCKS if block[1] == "exchange")
    services = [
        service
        for file in (generation_pb2, models_pb2, sessions_pb2)
        for service in file.DESCRIPTOR.services_by_name.values()
    ]
    calls = [
        f"{service.name}/{method.name}\n" for service in services for method in service.methods
    ]
    envelopes = generation_pb2.StreamSessionRequest, generation_pb2.StreamSessionResponse
    fields = [f'"{field.json_name}": ' for e in envelopes for field in e.DESCRIPTOR.fields[1:]]
    assert [name for name in (*calls, *fields) if name not in shown] == []
