"""A session whose wire is cut and whose daemon is killed at every point, against the plain model."""

from __future__ import annotations

from collections import deque

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from tests.client.durable.sim import SimDaemon, Text

from cellwire.client import CellwireError
from cellwire.client.durable import recovery
from cellwire.client.durable.journal import Answer, Journal
from cellwire.client.errors import NotFound, OutOfRange
from cellwire.client.values import (
    Appended,
    Attached,
    Completing,
    Finished,
    FinishReason,
    Forked,
    Piece,
    SafePoint,
)
from cellwire.client.wire.requests import Operation
from cellwire.v1.operations_pb2 import (
    Accept,
    Append,
    Complete,
    Fork,
    Generate,
    Rewind,
    Sampling,
    Save,
    Score,
)

FIRST_ID = 1000
STOPS = ((), (), ("a", "bb"), ("c",))
GENERATES = st.builds(
    lambda tokens, seed, stops: Generate(
        max_tokens=tokens, sampling=Sampling(seed=seed), stop_strings=stops
    ),
    st.integers(1, 12),
    st.none() | st.integers(0, 3),
    st.sampled_from(STOPS),
)
OPERATIONS = st.one_of(
    GENERATES,
    GENERATES,
    st.builds(lambda text: Append(text=text), st.text("abc!", min_size=1, max_size=3)),
    st.builds(lambda text: Append(text=text), st.text("abc", min_size=1, max_size=3)),
    st.builds(lambda tokens: Rewind(tokens=tokens), st.integers(0, 4)),
    st.builds(lambda text: Score(text=text), st.text("abc", min_size=1, max_size=2)),
    st.builds(lambda seed: Fork(seed=seed), st.integers(0, 9)),
    st.sampled_from([Complete(), Accept(), Save()]),
)


class Machine(RuleBasedStateMachine):
    @initialize(safe_first=st.booleans(), continues=st.booleans())
    def begin(self, safe_first: bool, continues: bool) -> None:  # noqa: FBT001  # Hypothesis
        self.daemon = SimDaemon(safe_first=safe_first, continues=continues)
        self.journal = Journal(FIRST_ID)
        self.daemon.open_again()
        self.wire: deque[tuple[int, Operation]] = deque()
        self.operations: dict[int, Operation] = {}
        self.answers: dict[int, list[Answer]] = {}
        self.cancelled: set[int] = set()
        recovery.recover(self.journal, Attached("", None, 0, 0, "", ()), 0, None)  # type: ignore[arg-type]
        self.collect()
        self.submit(Append(text="start"))

    # The caller.

    @rule(data=st.data())
    def call(self, data: st.DataObject) -> None:
        operation = data.draw(OPERATIONS)
        if isinstance(operation, Fork):
            operation = Fork(seed=operation.seed, session_id=str(len(self.operations)))
        self.submit(operation)

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        if self.operations:
            key = data.draw(st.sampled_from(sorted(self.operations)))
            self.cancelled.add(key)
            self.journal.cancel(key)
            self.collect()

    # The daemon and the wire.

    @rule(steps=st.lists(st.integers(0, 2), min_size=1, max_size=25))
    def run_on(self, steps: list[int]) -> None:
        """Let messages arrive on both sides, and the daemon work."""
        for step in steps:
            if step == 0 and self.wire:
                self.arrive()
            elif step == 1 and self.daemon.busy:
                self.daemon.step(1 + len(steps) % 4)
            elif self.daemon.answers and self.journal.outgoing.connected:
                self.hear()

    @rule(data=st.data())
    def store(self, data: st.DataObject) -> None:
        self.daemon.make_safe(data.draw(st.integers(0, self.daemon.revision)))

    def arrive(self) -> None:
        self.daemon.receive(*self.wire.popleft())

    def hear(self) -> None:
        self.journal.receive(*self.daemon.answers.popleft())
        self.collect()

    @precondition(lambda self: self.journal.outgoing.connected)
    @rule(data=st.data())
    def cut(self, data: st.DataObject) -> None:
        """Lose the connection; some of what is on the wire may still arrive, on both sides."""
        for _ in range(data.draw(st.integers(0, len(self.wire)))):
            self.daemon.receive(*self.wire.popleft())
        self.daemon.lose_stream()
        self.disconnect()

    @precondition(lambda self: self.daemon.exists)
    @rule(data=st.data())
    def kill(self, data: st.DataObject) -> None:
        safe = -1 if self.daemon.safe is None else self.daemon.safe
        self.daemon.crash(data.draw(st.integers(safe, self.daemon.revision)))
        self.disconnect()

    @precondition(lambda self: not self.journal.outgoing.connected)
    @rule(answer_arrives=st.booleans())
    def attach(self, answer_arrives: bool) -> None:  # noqa: FBT001  # Hypothesis
        offset = recovery.missing_from(self.journal)
        with_text = True
        try:
            attached, revision, safe = self.daemon.attach(offset)
        except NotFound:
            assert self.journal.safe is None
            self.daemon.open_again()
            attached, revision, safe = self.daemon.attach(None)
        except OutOfRange:
            with_text = False
            attached, revision, safe = self.daemon.attach(None)
        if self.daemon._safe_first:
            self.daemon.make_safe(revision)
            safe = self.daemon.safe_point()
        if not answer_arrives:
            self.daemon.lose_stream()
            return
        recovery.recover(self.journal, attached, revision, safe, with_text=with_text)
        self.collect()

    @invariant()
    def nothing_failed(self) -> None:
        if hasattr(self, "journal"):
            assert self.journal.failure is None

    def teardown(self) -> None:
        if not hasattr(self, "journal"):
            return
        self.settle()
        self.check()

    def submit(self, operation: Operation) -> None:
        if isinstance(operation, Accept) and any(
            isinstance(self.operations[key], Complete) and not answers
            for key, answers in self.answers.items()
        ):
            return  # an accept waits for the completes
        key = self.journal.submit(operation)
        self.operations[key] = operation
        self.answers[key] = []
        self.collect()

    def disconnect(self) -> None:
        self.wire.clear()
        self.journal.lost()
        self.collect()

    def collect(self) -> None:
        assert self.journal.failure is None, self.journal.failure
        self.wire.extend(self.journal.outgoing.messages)
        self.journal.outgoing.messages.clear()
        for key, answer in self.journal.gives:
            self.answers[key].append(answer)
        self.journal.gives.clear()

    def settle(self) -> None:
        """Let everything come to its end."""
        if not self.journal.outgoing.connected:
            self.attach(answer_arrives=True)
        for _ in range(10_000):
            if self.wire:
                self.arrive()
            elif self.daemon.answers:
                self.hear()
            elif self.daemon.busy:
                self.daemon.step(3)
            elif self.daemon.safe != self.daemon.revision:
                self.daemon.make_safe(self.daemon.revision)
            else:
                break
        assert self.journal.entries == {}

    def check(self) -> None:
        """Compare every answer with that of the plain model, and the texts in the end."""
        text = Text()
        unsure = False  # whether a complete that ended early has found something
        for key, operation in self.operations.items():
            *partial, final = self.answers[key]
            assert not any(isinstance(answer, Completing) for answer in partial)
            pieces = [answer for answer in partial if isinstance(answer, Piece)]
            assert pieces == partial
            ended_early = isinstance(final, Finished) and final.reason in {
                FinishReason.CANCELLED,
                FinishReason.SUPERSEDED,
            }
            if isinstance(operation, Complete):
                unsure = ended_early
            if unsure and isinstance(operation, Accept) and isinstance(final, Appended):
                text.complete()
            if ended_early and isinstance(final, Finished):
                self.check_early(key, operation, final, text, pieces)
            else:
                expected = expected_answer(text, operation, pieces)
                assert same(final, expected), (operation, final, expected)
        assert text.tokens == self.daemon.text.tokens
        assert self.journal.offset == len(text.tokens)

    def check_early(
        self, key: int, operation: Operation, final: Finished, text: Text, pieces: list[Piece]
    ) -> None:
        if final.reason is FinishReason.SUPERSEDED:
            assert isinstance(operation, Complete)
            return
        assert key in self.cancelled
        if isinstance(operation, Generate) and (pieces or final.usage.generated_tokens):
            begin = len(text.tokens)
            written = []
            for _ in range(final.usage.generated_tokens):
                token = text.next_token(operation, begin)
                assert isinstance(token, str)
                written.append(token)
            assert "".join(piece.text for piece in pieces) == "".join(written)
            assert final.offset == len(text.tokens)


def expected_answer(text: Text, operation: Operation, pieces: list[Piece]) -> object:
    """Carry an operation out on the plain text; check its pieces, and return its last answer."""
    try:
        match operation:
            case Append():
                return text.append(operation)
            case Rewind():
                return text.rewind(operation)
            case Complete():
                return text.complete()
            case Accept():
                return text.accept()
            case Score():
                return text.score(operation)
            case Fork():
                return Forked(operation.session_id, operation.seed, len(text.tokens))
            case Generate():
                return written(text, operation, pieces)
            case _:
                return SafePoint(0, 0)
    except CellwireError as error:
        return error


def written(text: Text, operation: Generate, pieces: list[Piece]) -> Finished | CellwireError:
    if not text.tokens:
        from cellwire.client import FailedPrecondition

        return FailedPrecondition("no text")
    begin = len(text.tokens)
    while not isinstance(token := text.next_token(operation, begin), Finished):
        pass
    offset = begin
    for piece in pieces:
        assert piece.offset == offset
        assert piece.text == "".join(text.tokens[offset : piece.end_offset])
        offset = piece.end_offset
    assert offset == token.offset
    return token


def same(final: Answer, expected: object) -> bool:
    if isinstance(final, SafePoint):
        return isinstance(expected, SafePoint)
    if isinstance(final, CellwireError):
        return type(final) is type(expected)
    return final == expected


TestJournal = Machine.TestCase
TestJournal.settings = settings(
    max_examples=600,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.filter_too_much, HealthCheck.too_slow],
)
