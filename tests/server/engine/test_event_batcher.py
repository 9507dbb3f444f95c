"""When text and answers leave the engine's thread."""

from __future__ import annotations

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.event_batcher import EventBatcher
from cellwire.server.session.events import Opened, Written
from cellwire.server.session.operations import Generate


def text_of(session_id: str) -> Written:
    return Written(session_id, Generate(2, 9, Sampling()), 1, (5,), (-1.0,))


TEXT = text_of("s")
ANSWER = Opened("s", 1, 7, 64)


def test_text_waits_for_more_text() -> None:
    outgoing = EventBatcher()
    outgoing.add([TEXT])
    assert outgoing.due(10.0, idle=False) == [TEXT]
    outgoing.add([TEXT])
    assert outgoing.due(10.01, idle=False) == []
    outgoing.add([TEXT])
    assert outgoing.due(10.02, idle=False) == [TEXT, TEXT]
    assert outgoing.due(11.0, idle=False) == []


def test_the_more_sessions_have_text_the_longer_it_waits() -> None:
    outgoing = EventBatcher()
    outgoing.due(10.0, idle=False)
    texts = [text_of(str(number)) for number in range(100)]
    outgoing.add([*texts])
    assert outgoing.due(10.095, idle=False) == []
    assert outgoing.due(10.105, idle=False) == texts


def test_an_answer_waits_for_nobody_and_comes_after_the_text_before_it() -> None:
    outgoing = EventBatcher()
    other = text_of("other")
    outgoing.due(10.0, idle=False)
    outgoing.add([TEXT, other])
    assert outgoing.due(10.001, idle=False) == []
    outgoing.add([ANSWER, other])
    assert outgoing.due(10.002, idle=False) == [TEXT, ANSWER]
    assert outgoing.due(10.003, idle=False) == []
    assert outgoing.due(10.02, idle=False) == [other, other]


def test_nothing_waits_when_there_is_nothing_to_wait_for() -> None:
    outgoing = EventBatcher()
    outgoing.due(10.0, idle=False)
    outgoing.add([TEXT])
    assert outgoing.due(10.001, idle=True) == [TEXT]
