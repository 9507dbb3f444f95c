"""The events that wait for a session's call, and how many they are."""

from __future__ import annotations

from cellwire.server.batch.sampling import Sampling
from cellwire.server.errors import Aborted, NotCompiled, NotFound, StepFailed
from cellwire.server.host.outbox import Outbox
from cellwire.server.rpc.chunks import coalesced
from cellwire.server.session.events import (
    Appended,
    Attached,
    AttachFailed,
    Closed,
    Completed,
    Completion,
    Detached,
    Event,
    Finished,
    FinishReason,
    Opened,
    Rejected,
    Written,
)
from cellwire.server.session.operations import Generate


def results(number: int, operation_id: int = 0, *, partial: bool) -> Completed:
    found = (Completion((number,), -1.0, ended=False),)
    return Completed("s", operation_id, 0, found, partial=partial)


def test_only_the_newest_partial_results_wait() -> None:
    outbox = Outbox()
    for number in range(100):
        outbox.put(results(number, partial=True))
    outbox.put(Rejected("s", 7, NotFound("no operation 8")))
    for number in range(100, 200):
        outbox.put(results(number, partial=True))
    assert [getattr(e, "completions", None) for e in outbox.take()] == [
        results(99, partial=True).completions,
        None,
        results(199, partial=True).completions,
    ]


def test_final_results_replace_partial_ones_but_no_others() -> None:
    outbox = Outbox()
    first, second = results(1, partial=False), results(3, partial=False)
    for event in (results(0, partial=True), first, results(2, partial=True), second, second):
        outbox.put(event)
    other = results(4, operation_id=5, partial=False)
    outbox.put(other)
    assert list(coalesced(outbox.take())) == [first, second, second, other]


def test_no_partial_results_wait_while_no_call_is_attached() -> None:
    outbox = Outbox()
    outbox.drop_text()
    outbox.put(results(0, partial=True))
    assert not outbox.unread
    outbox.put(results(1, partial=False))
    outbox.keep_text()
    outbox.put(results(2, partial=True))
    assert len(outbox.take()) == 2


def appended(operation_id: int) -> Appended:
    return Appended("s", operation_id, 5, -1.0, ())


def attached(number: int) -> Attached:
    return Attached("s", number, 5, (), (), ())


def written() -> Written:
    return Written("s", Generate(3, 10, Sampling()), 5, (1,), (-1.0,))


FAILED = AttachFailed("s", 1, NotFound("no session"))
CLOSED = Closed("s", None, Aborted("unloaded"))


def test_an_attach_cuts_what_was_meant_for_the_call_before() -> None:
    outbox = Outbox()
    before: list[Event] = [Opened("s", 0, 7, 64), written(), appended(1), Detached("s", 2)]
    for event in before:
        outbox.put(event)
    outbox.await_attach(1)
    outbox.put(written())
    outbox.put(appended(3))
    outbox.put(attached(8))  # of a call that was evicted
    assert not outbox.unread
    for event in (attached(1), appended(4)):
        outbox.put(event)
    assert outbox.take() == [attached(1), appended(1), appended(3), appended(4)]
    outbox.put(written())
    assert len(outbox.take()) == 1


def test_an_attach_that_fails_takes_no_answers() -> None:
    outbox = Outbox()
    outbox.put(appended(1))
    outbox.await_attach(1)
    outbox.put(FAILED)
    outbox.put(appended(2))
    assert outbox.take() == [FAILED]
    outbox.put(appended(3))
    assert not outbox.unread
    outbox.await_attach(2)
    outbox.put(attached(2))
    assert outbox.take() == [attached(2), appended(1), appended(2), appended(3)]


def test_an_attach_that_was_not_taken_is_cut_by_the_next() -> None:
    answers: list[Event] = [attached(1), FAILED]
    for answer in answers:
        outbox = Outbox()
        outbox.await_attach(1)
        outbox.put(answer)
        outbox.put(written())
        outbox.put(appended(1))
        outbox.await_attach(2)
        outbox.put(attached(2))
        assert outbox.take() == [attached(2), appended(1)]


def test_a_session_that_was_closed_needs_no_answer_to_an_attach() -> None:
    for closed_first in (True, False):
        outbox = Outbox()
        outbox.put(appended(1))
        if closed_first:
            outbox.put(CLOSED)
        outbox.await_attach(1)
        if not closed_first:
            outbox.put(CLOSED)
        assert outbox.take() == [CLOSED]


def test_the_tokens_of_appends_are_not_kept() -> None:
    outbox = Outbox()
    tokens = (1, 2, 3)
    outbox.put(Appended("s", 1, 3, -1.0, tokens))
    outbox.put(Finished("s", 2, FinishReason.CANCELLED, 6, appended_tokens=3, appended=tokens))
    outbox.put(Rejected("s", 3, NotCompiled("no memory"), tokens))
    appended, finished, rejected = outbox.take()
    assert appended == Appended("s", 1, 3, -1.0, ())
    assert finished == Finished("s", 2, FinishReason.CANCELLED, 6, appended_tokens=3)
    assert isinstance(rejected, Rejected)
    assert rejected.appended == ()


def test_the_end_of_a_session_outlives_an_attach_that_is_answered_after_it() -> None:
    end = Closed("s", None, StepFailed("the model could not be run"))
    failed = AttachFailed("s", 1, NotFound("there is no session 's'"))
    attached = Attached("s", 1, 0, (), (), ())
    for answer, expected in ((failed, [end]), (attached, [attached, end])):
        outbox = Outbox()
        outbox.await_attach(1)
        outbox.put(end)
        outbox.put(answer)
        assert outbox.take() == expected
