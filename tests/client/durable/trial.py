"""A journal, the simulated daemon and the wire between them, driven by a seed.

The wire is cut and the daemon killed at every point. In the end each answer is compared with that
of the plain model: the same operations, one after the other, with nothing in between.
"""

from __future__ import annotations

from collections import deque
from random import Random

from tests.client.durable.sim import Answer, SimDaemon, Text

from cellwire.client import CellwireError, FailedPrecondition
from cellwire.client.durable import recovery
from cellwire.client.durable.journal import Journal
from cellwire.client.errors import NotFound, OutOfRange
from cellwire.client.values import (
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
    Checkpoint,
    Complete,
    Discard,
    Fork,
    Generate,
    Restore,
    Rewind,
    Sampling,
    Save,
    Score,
)

FIRST_ID = 1000
STOPS = ((), (), ("a", "bb"), ("c",))
EARLY = {FinishReason.CANCELLED, FinishReason.SUPERSEDED}


class Trial:
    """One session, from its open until nothing is left to do."""

    def __init__(self, seed: int, *, checkpoints: bool = False) -> None:
        self.checkpoints = checkpoints
        self.random = Random(seed)
        draw = self.random.random
        self.daemon = SimDaemon(safe_first=draw() < 0.4, continues=draw() < 0.5)
        self.journal = Journal(FIRST_ID)
        self.daemon.open_again()
        self.wire: deque[tuple[int, Operation]] = deque()
        self.operations: dict[int, Operation] = {}
        self.answers: dict[int, list[Answer]] = {}
        self.cancelled: set[int] = set()
        attached = Attached("", None, 0, 0, "", ())  # type: ignore[arg-type]  # no model is asked for
        recovery.recover(self.journal, attached, 0, None)
        self.collect()
        self.submit(Append(text="start"))

    def run(self, steps: int) -> None:
        for _ in range(steps):
            self.step()
        self.settle()
        self.check()

    def step(self) -> None:
        draw = self.random.random()
        connected = self.journal.outgoing.connected
        if draw < 0.12:
            at_checkpoint = self.checkpoints and self.random.random() < 0.4
            self.submit(self.checkpoint_operation() if at_checkpoint else self.operation())
        elif draw < 0.14:
            key = self.random.choice(sorted(self.operations)[-3:])
            self.cancelled.add(key)
            self.journal.cancel(key)
            self.collect()
        elif draw < 0.16:
            safe = self.daemon.safe or 0
            self.daemon.make_safe(self.random.randint(safe, self.daemon.revision))
        elif draw < 0.175 and connected:
            self.cut()
        elif draw < 0.2 and self.daemon.exists:
            self.kill()
        elif draw < 0.3 and not connected:
            self.attach(answer_arrives=self.random.random() < 0.8)
        else:
            self.go_on()

    def operation(self) -> Operation:
        random, draw = self.random, self.random.random()
        if draw < 0.4:
            sampling = Sampling(seed=random.choice([None, 1, 2]))
            return Generate(
                max_tokens=random.randint(1, 12),
                sampling=sampling,
                stop_strings=random.choice(STOPS),
            )
        if draw < 0.6:
            symbols = "abc" + "!" * (random.random() < 0.2)
            return Append(text="".join(random.choices(symbols, k=random.randint(1, 3))))
        if draw < 0.7:
            return Rewind(tokens=random.randint(0, 4))
        if draw < 0.75:
            return Score(text="ab")
        if draw < 0.8:
            return Fork(seed=1, session_id=str(len(self.operations)))
        others: list[Operation] = [Complete(), Accept(), Save(), Complete()]
        return random.choice(others)

    def checkpoint_operation(self) -> Operation:
        name = self.random.choice("ab")
        operations: list[Operation] = [Checkpoint(name=name), Discard(name=name)]
        return self.random.choice([*operations, Restore(name=name), Restore(name=name)])

    def submit(self, operation: Operation) -> None:
        if isinstance(operation, Accept) and not self.may_accept():
            return
        key = self.journal.submit(operation)
        self.operations[key] = operation
        self.answers[key] = []
        self.collect()

    def may_accept(self) -> bool:
        """Whether the last complete has told what it has found, or there was none."""
        completes = [key for key, one in self.operations.items() if isinstance(one, Complete)]
        answers = self.answers[completes[-1]] if completes else None
        return answers is None or (answers != [] and not isinstance(answers[-1], Finished))

    # The daemon and the wire.

    def go_on(self) -> None:
        """Let a message arrive, or the daemon work."""
        match self.random.randrange(3):
            case 0 if self.wire:
                self.arrive()
            case 1 if self.daemon.busy:
                self.daemon.step(self.random.randint(1, 4))
            case _ if self.daemon.answers and self.journal.outgoing.connected:
                self.hear()

    def arrive(self) -> None:
        self.daemon.receive(*self.wire.popleft())

    def hear(self) -> None:
        self.journal.receive(*self.daemon.answers.popleft())
        self.collect()

    def cut(self) -> None:
        """Lose the connection; some of what is on the wire may still arrive."""
        for _ in range(self.random.randint(0, len(self.wire))):
            self.arrive()
        self.daemon.lose_stream()
        self.disconnect()

    def kill(self) -> None:
        safe = -1 if self.daemon.safe is None else self.daemon.safe
        self.daemon.crash(self.random.randint(safe, self.daemon.revision))
        self.disconnect()

    def disconnect(self) -> None:
        self.wire.clear()
        self.journal.lost()
        self.collect()

    def attach(self, *, answer_arrives: bool) -> None:
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
        if self.daemon.safe_first:
            self.daemon.make_safe(revision)
            safe = self.daemon.safe_point()
        if not answer_arrives:
            self.daemon.lose_stream()
            return
        recovery.recover(self.journal, attached, revision, safe, with_text=with_text)
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

    # What must be so in the end.

    def check(self) -> None:
        """Compare every answer with that of the plain model, and the texts in the end."""
        text = Text()
        for key, operation in self.operations.items():
            *partial, final = self.answers[key]
            assert not any(isinstance(answer, Completing) for answer in partial)
            pieces = [answer for answer in partial if isinstance(answer, Piece)]
            assert pieces == partial
            if isinstance(final, Finished) and final.reason in EARLY:
                self.check_early(key, final, text, pieces)
            else:
                expected = expected_answer(text, operation, pieces)
                assert same(final, expected), (operation, final, expected)
        assert text.tokens == self.daemon.text.tokens
        assert self.journal.offset == len(text.tokens)

    def check_early(self, key: int, final: Finished, text: Text, pieces: list[Piece]) -> None:
        operation = self.operations[key]
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
    answer: Answer
    try:
        match operation:
            case Append() | Rewind() | Checkpoint() | Restore() | Discard():
                answer = text.change(operation)
            case Complete():
                answer = text.complete()
            case Accept():
                answer = text.accept()
            case Score():
                answer = text.score(operation)
            case Fork():
                answer = Forked(operation.session_id, operation.seed, len(text.tokens))
            case Generate():
                answer = written(text, operation, pieces)
            case _:
                answer = SafePoint(0, 0)
    except CellwireError as error:
        answer = error
    return answer


def written(text: Text, operation: Generate, pieces: list[Piece]) -> Finished | CellwireError:
    if not text.tokens:
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
