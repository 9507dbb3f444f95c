"""Text waits for more text; answers do not wait."""

from __future__ import annotations

from cellwire.server.batch.sampling import Sampling
from cellwire.server.engine.event_batcher import EventBatcher
from cellwire.server.session.events import Opened, StateRead, Written
from cellwire.server.session.operations import Generate


def text_of(session_id: str) -> Written:
    return Written(session_id, Generate(2, 9, Sampling()), 1, (5,), (-1.0,))


def twice(text: Written) -> Written:
    return text._replace(tokens=[5, 5], log_probabilities=[-1.0, -1.0])


TEXT = text_of("s")
ANSWER = Opened("s", 1, 7, 64)


def test_text_waits_for_more_text() -> None:
    batcher = EventBatcher()
    batcher.add([TEXT])
    assert batcher.due(10.0, idle=False) == [TEXT]
    batcher.add([TEXT])
    assert batcher.due(10.01, idle=False) == []
    batcher.add([TEXT])
    assert batcher.due(10.02, idle=False) == [twice(TEXT)]
    assert batcher.due(11.0, idle=False) == []


def test_text_waits_longer_with_more_sessions() -> None:
    batcher = EventBatcher()
    batcher.due(10.0, idle=False)
    texts = [text_of(str(number)) for number in range(100)]
    batcher.add([*texts])
    assert batcher.due(10.095, idle=False) == []
    assert batcher.due(10.105, idle=False) == texts


def test_an_answer_leaves_at_once_with_the_text_before_it() -> None:
    batcher = EventBatcher()
    other = text_of("other")
    batcher.due(10.0, idle=False)
    batcher.add([TEXT, other])
    assert batcher.due(10.001, idle=False) == []
    batcher.add([ANSWER, other])
    assert batcher.due(10.002, idle=False) == [TEXT, ANSWER]
    assert batcher.due(10.003, idle=False) == []
    assert batcher.due(10.02, idle=False) == [twice(other)]


def test_text_leaves_at_once_when_the_engine_is_idle() -> None:
    batcher = EventBatcher()
    batcher.due(10.0, idle=False)
    batcher.add([TEXT])
    assert batcher.due(10.001, idle=True) == [TEXT]


def test_text_in_a_row_is_one_event() -> None:
    batcher = EventBatcher()
    other = text_of("s")  # of another generate
    batcher.add([TEXT._replace(after_blank=True, alternatives=(((3, -1.0),),)), TEXT])
    batcher.add([ANSWER, TEXT, other, TEXT])
    first, *rest = batcher.due(10.0, idle=False)
    assert first == twice(TEXT)._replace(after_blank=True, alternatives=(((3, -1.0),),))
    assert rest == [ANSWER, TEXT, other, TEXT]


def test_a_state_waits_with_the_text() -> None:
    batcher = EventBatcher()
    batcher.due(10.0, idle=False)
    state = StateRead("s", 1, (b"",))
    batcher.add([TEXT, state, TEXT])
    assert batcher.due(10.001, idle=False) == []
    assert batcher.due(10.02, idle=False) == [TEXT, state, TEXT]
