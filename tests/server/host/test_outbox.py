"""What waits for a session's call, and how much of it."""

from __future__ import annotations

from cellwire.server.errors import NotFound
from cellwire.server.host.outbox import Outbox
from cellwire.server.rpc.writing import coalesced
from cellwire.server.session.events import Completed, Completion, Rejected


def results(number: int, operation_id: int = 0, *, partial: bool) -> Completed:
    found = (Completion((number,), -1.0, ended=False),)
    return Completed("s", operation_id, 0, found, partial=partial)


def test_of_unfinished_results_only_the_newest_waits() -> None:
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


def test_last_results_replace_unfinished_ones_but_no_others() -> None:
    outbox = Outbox()
    first, second = results(1, partial=False), results(3, partial=False)
    for event in (results(0, partial=True), first, results(2, partial=True), second, second):
        outbox.put(event)
    other = results(4, operation_id=5, partial=False)
    outbox.put(other)
    assert list(coalesced(outbox.take())) == [first, second, second, other]


def test_nothing_unfinished_waits_while_nobody_reads() -> None:
    outbox = Outbox()
    outbox.drop_text()
    outbox.put(results(0, partial=True))
    assert not outbox.unread
    outbox.put(results(1, partial=False))
    outbox.keep_text()
    outbox.put(results(2, partial=True))
    assert len(outbox.take()) == 2
