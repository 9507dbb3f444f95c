"""When a session cannot go on, and what its callers are told."""

from __future__ import annotations

import pytest

from cellwire import client
from cellwire.client.durable import recovery
from cellwire.client.durable.journal import Journal, append_of
from cellwire.client.errors import CellwireError
from cellwire.client.model import Model, Vocabulary
from cellwire.client.values import (
    Appended,
    Attached,
    Completed,
    Completing,
    Completion,
    Done,
    FinalAnswer,
    Finished,
    FinishReason,
    PartialAnswer,
    Piece,
    SafePoint,
    Usage,
)
from cellwire.client.wire.requests import Operation
from cellwire.v1.operations_pb2 import Accept, Append, Close, Complete, Generate

MODEL = Model("sim", "", "", 1, 1, Vocabulary("words", 26), 1, "cpu")
FIRST_ID = 100
FOUND = Completed(2, (Completion("the house", -1.0, 2, ended=True),))
THREE = Finished(FinishReason.MAX_TOKENS, 5, Usage(0, 3))


class Wire:
    """A journal, and what is said to it."""

    def __init__(self) -> None:
        self.journal = Journal(FIRST_ID)
        self.attach(0)

    def submit(self, operation: Operation) -> int:
        return self.journal.submit(operation)

    def sent(self) -> tuple[int, Operation]:
        """Return the last message that is to be sent, with its id."""
        messages = self.journal.outgoing.messages
        message = messages[-1]
        messages.clear()
        return message

    def hear(self, answer: PartialAnswer | FinalAnswer | CellwireError, revision: int = 0) -> None:
        """Answer the operation that was sent last."""
        self.journal.receive(max(self.journal.outgoing.sent), answer, revision, SafePoint(0, 0))

    def given(self) -> list[object]:
        given: list[object] = [answer for _, answer in self.journal.gives]
        self.journal.gives.clear()
        return given

    def attach(
        self, offset: int, revision: int = 0, missed: str = "", *done: Done, text: bool = True
    ) -> None:
        attached = Attached("id", MODEL, 0, offset, missed, (), done)
        recovery.recover(self.journal, attached, revision, None, with_text=text)

    def come_back(self, offset: int, revision: int, missed: str = "", *, text: bool = True) -> None:
        self.journal.lost()
        self.attach(offset, revision, missed, text=text)


@pytest.fixture
def wire() -> Wire:
    """A session of two tokens, at revision 1, of which none are safe."""
    wire = Wire()
    wire.submit(Append(text="ab"))
    wire.hear(Appended(2, -1.0), 1)
    wire.given()
    return wire


def generated(wire: Wire) -> None:
    """Let a generate write three tokens, one revision each."""
    wire.submit(Generate(max_tokens=3))
    for offset, text in enumerate("xyz", 2):
        wire.hear(Piece(offset, text, offset + 1), offset)
    wire.hear(THREE, 5)
    wire.given()


def test_text_that_is_lost_is_written_again(wire: Wire) -> None:
    generated(wire)
    wire.come_back(3, 2)
    _, again = wire.sent()
    assert again == Generate(start_offset=2, max_tokens=3)
    wire.hear(Piece(3, "yz", 5), 4)
    wire.hear(THREE, 5)
    assert wire.journal.failure is None
    assert wire.given() == []


def test_another_text_in_its_place_ends_the_session(wire: Wire) -> None:
    generated(wire)
    wire.come_back(3, 2)
    wire.hear(Piece(3, "y?", 5), 4)
    wire.hear(THREE, 5)
    assert isinstance(wire.journal.failure, client.Aborted)
    assert "safe_first" in wire.journal.failure.message


@pytest.mark.parametrize("answer", [Appended(7, -1.0), client.InvalidArgument("no such symbol")])
def test_a_change_that_cannot_be_done_again_ends_the_session(
    wire: Wire, answer: FinalAnswer | CellwireError
) -> None:
    wire.come_back(0, 0)
    wire.hear(answer, 1)
    assert isinstance(wire.journal.failure, client.Aborted)
    assert "the effect of a append" in wire.journal.failure.message


def test_a_generate_that_is_refused_the_second_time_ends_the_session(wire: Wire) -> None:
    generated(wire)
    wire.come_back(3, 2)
    wire.sent()
    wire.hear(client.ResourceExhausted("no room"))
    assert isinstance(wire.journal.failure, client.Aborted)
    assert wire.submit(Append(text="c"))
    assert wire.journal.outgoing.messages == []


def test_text_that_the_daemon_keeps_no_longer_ends_the_session(wire: Wire) -> None:
    wire.submit(Generate(max_tokens=100_000))
    wire.come_back(90_000, 7, text=False)
    assert isinstance(wire.journal.failure, client.OutOfRange)


def test_text_is_asked_for_from_where_the_caller_is(wire: Wire) -> None:
    assert recovery.missing_from(wire.journal) is None
    wire.submit(Generate(max_tokens=3))
    wire.hear(Piece(2, "x", 3), 2)
    assert recovery.missing_from(wire.journal) == 3
    wire.given()
    wire.come_back(4, 3, "y")
    assert wire.given() == [Piece(3, "y", 4)]


def test_what_another_client_had_done_is_lost() -> None:
    journal = Journal(FIRST_ID)
    attached = Attached("id", MODEL, 0, 5, "", ())
    recovery.adopt(journal, attached, 3, None)
    journal.lost()
    recovery.recover(journal, attached, 2, None)
    assert isinstance(journal.failure, client.DataLoss)


def completed(wire: Wire) -> None:
    wire.submit(Complete())
    wire.hear(FOUND)
    wire.given()


def test_results_so_far_are_given(wire: Wire) -> None:
    wire.submit(Complete(partial_results=True))
    wire.hear(Completing(FOUND))
    assert wire.given() == [Completing(FOUND)]


def test_an_accept_is_an_append_elsewhere(wire: Wire) -> None:
    completed(wire)
    wire.come_back(2, 1)
    wire.submit(Accept())
    assert wire.sent()[1] == Append(text="the house")


def test_a_part_whose_text_is_not_known_is_refused(wire: Wire) -> None:
    completed(wire)
    wire.come_back(2, 1)
    wire.submit(Accept(tokens=1))
    (refusal,) = wire.given()
    assert isinstance(refusal, client.Aborted)
    assert "complete again" in refusal.message
    assert wire.journal.failure is None


def test_a_part_that_is_lost_and_not_known_ends_the_session(wire: Wire) -> None:
    completed(wire)
    wire.submit(Accept(tokens=1))
    wire.hear(Appended(3, -1.0), 2)
    wire.come_back(2, 1)
    assert isinstance(wire.journal.failure, client.Aborted)


def test_an_accept_of_what_was_not_found_is_the_daemons_to_refuse(wire: Wire) -> None:
    completed(wire)
    wire.come_back(2, 1)
    wire.submit(Accept(index=3))
    assert wire.sent()[1] == Accept(index=3)


@pytest.mark.parametrize(
    ("completion", "tokens", "text"),
    [
        (Completion("abc", -1.0, 3, ended=True), 0, "abc"),
        (Completion("abc", -1.0, 3, ended=True), 2, "ab"),
        (Completion("the house", -1.0, 2, ended=True), 2, "the house"),
        (Completion("the house", -1.0, 2, ended=True), 1, None),
    ],
)
def test_what_an_accept_adds(completion: Completion, tokens: int, text: str | None) -> None:
    append = append_of(Completed(0, (completion,)), Accept(tokens=tokens))
    assert append == (None if text is None else Append(text=text))


def test_a_session_that_is_gone_is_closed_if_it_was_to_be(wire: Wire) -> None:
    wire.submit(Close(keep=True))
    wire.journal.lost()
    wire.journal.gone()
    assert wire.given() == []
    wire.attach(2, 1)
    wire.submit(Close())
    wire.journal.lost()
    wire.journal.gone()
    assert len(wire.given()) == 1
