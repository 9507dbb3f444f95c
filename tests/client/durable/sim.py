"""A daemon in memory, with a store that may lose what is not safe, and a wire that may be cut.

A token is one to three characters, so that no count of characters stands for a count of tokens.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from cellwire.client import AlreadyExists, CellwireError, FailedPrecondition, InvalidArgument
from cellwire.client.errors import NotFound, OutOfRange
from cellwire.client.model import Model, Vocabulary
from cellwire.client.values import (
    Appended,
    Attached,
    Checkpointed,
    Closed,
    Completed,
    Completion,
    Discarded,
    Done,
    FinalAnswer,
    Finished,
    FinishReason,
    Forked,
    PartialAnswer,
    Piece,
    Restored,
    Rewound,
    SafePoint,
    Scored,
    Usage,
)
from cellwire.client.wire.requests import Operation
from cellwire.v1.operations_pb2 import (
    Accept,
    Append,
    Cancel,
    Checkpoint,
    Close,
    Complete,
    Discard,
    Fork,
    Generate,
    Restore,
    Rewind,
    Save,
    Score,
)

REMEMBERED = 64
MODEL = Model("sim", "", "", 1, 1, Vocabulary("words", 26), 1, "cpu")
CHANGES = (Append, Accept, Generate, Rewind, Restore)
REMEMBERED_KINDS = (*CHANGES, Checkpoint, Discard)

CHANGED = (Appended, Rewound, Finished, Checkpointed, Restored, Discarded)

Answer = PartialAnswer | FinalAnswer | CellwireError
Message = tuple[int, Answer, int, SafePoint | None]


def digest(*values: object) -> int:
    return zlib.crc32(repr(values).encode())


def token_at(text: list[str], seed: int, position: int) -> str:
    number = digest(seed, position, text[-1])
    return "abcdefghijklm"[number % 13] * (1 + number // 13 % 3)


@dataclass
class Text:
    """What the operations do to a text, without a wire: the plain model."""

    tokens: list[str] = field(default_factory=list)
    found: str | None = None
    kept: dict[str, list[str]] = field(default_factory=dict)

    def change(
        self, operation: Append | Rewind | Checkpoint | Restore | Discard
    ) -> Appended | Rewound | Checkpointed | Restored | Discarded:
        match operation:
            case Append():
                return self.append(operation)
            case Rewind():
                return self.rewind(operation)
            case Checkpoint():
                return self.keep(operation)
            case Restore():
                return self.restore(operation)
            case Discard():
                return self.discard(operation)

    def append(self, message: Append) -> Appended:
        if "!" in message.text:
            raise InvalidArgument("unknown symbol")
        probability = float(digest(self.tokens, message.text))
        self.tokens = [*self.tokens, *message.text]
        self.found = None
        return Appended(len(self.tokens), probability)

    def rewind(self, message: Rewind) -> Rewound:
        tokens = len(self.tokens)
        to = message.offset if message.HasField("offset") else tokens - message.tokens
        if not 0 <= to <= tokens:
            raise OutOfRange("beyond the text")
        self.tokens = self.tokens[:to]
        self.found = None
        return Rewound(to)

    def keep(self, message: Checkpoint) -> Checkpointed:
        self.kept = {**self.kept, message.name: self.tokens}
        return Checkpointed(message.name, len(self.tokens))

    def restore(self, message: Restore) -> Restored:
        if message.name not in self.kept:
            raise NotFound("no such checkpoint")
        self.tokens = self.kept[message.name]
        self.found = None
        return Restored(message.name, len(self.tokens))

    def discard(self, message: Discard) -> Discarded:
        if message.name not in self.kept:
            raise NotFound("no such checkpoint")
        self.kept = {name: kept for name, kept in self.kept.items() if name != message.name}
        return Discarded(message.name)

    def complete(self) -> Completed:
        if not self.tokens:
            raise FailedPrecondition("no text")
        self.found = "x" + token_at(self.tokens, 1, len(self.tokens))
        completion = Completion(self.found, 0.0, len(self.found), ended=False)
        return Completed(len(self.tokens), (completion,))

    def accept(self) -> Appended:
        if self.found is None:
            raise FailedPrecondition("nothing was found")
        return self.append(Append(text=self.found))

    def score(self, message: Score) -> Scored:
        return Scored(float(digest(self.tokens, message.text)), len(message.text), 0.0, 0.0)

    def next_token(self, message: Generate, begin: int) -> str | Finished:
        """Add a token of a generate, or return its end."""
        self.found = None
        count = len(self.tokens) - begin
        if count >= message.max_tokens:
            return Finished(FinishReason.MAX_TOKENS, len(self.tokens), Usage(0, count))
        own = message.sampling.HasField("seed")
        seed = message.sampling.seed if own else 0
        token = token_at(self.tokens, seed, count if own else len(self.tokens))
        if token in message.stop_strings:
            return Finished(FinishReason.STOP, len(self.tokens), Usage(0, count), token)
        self.tokens = [*self.tokens, token]
        return token


@dataclass
class Stored:
    tokens: list[str]
    done: tuple[Done, ...]
    kept: dict[str, list[str]] = field(default_factory=dict)


class SimDaemon:
    """One durable session. `step` does a little of what is to be done."""

    def __init__(self, *, safe_first: bool, continues: bool) -> None:
        self.text = Text()
        self.history = [Stored([], ())]
        self.done: tuple[Done, ...] = ()
        self.revision = 0
        self.safe: int | None = None
        self.attached = False
        self.answers: deque[Message] = deque()
        """On the wire to the client."""
        self.forks: set[str] = set()
        self.exists = True
        self._held: deque[Message] = deque()
        self._unsent: list[Message] = []
        self._queue: dict[int, Operation] = {}
        self._begin: int | None = None
        self.safe_first = safe_first
        self._continues = continues

    @property
    def busy(self) -> bool:
        return bool(self._queue) and (self.attached or self._continues)

    def safe_point(self) -> SafePoint | None:
        if self.safe is None:
            return None
        return SafePoint(self.safe, len(self.history[self.safe].tokens))

    def make_safe(self, revision: int) -> None:
        if self.safe is not None and revision <= self.safe:
            return
        self.safe = revision
        while self._held and self._held[0][2] <= revision:
            operation_id, answer, at, _ = self._held.popleft()
            self._send(operation_id, answer, at)
        for operation_id, operation in list(self._queue.items())[:1]:
            if isinstance(operation, Save) and revision == self.revision:
                self._end(operation_id, SafePoint(revision, len(self.text.tokens)))
        if self.attached and not self.safe_first:
            self.answers.append((0, SafePoint(0, 0), 0, self.safe_point()))

    def receive(self, operation_id: int, operation: Operation) -> None:
        if isinstance(operation, Cancel):
            self._cancel(operation.operation_id)
            return
        assert operation_id not in self._queue
        if isinstance(operation, CHANGES):
            for other, waiting in list(self._queue.items()):
                if isinstance(waiting, Complete):
                    finished = Finished(FinishReason.SUPERSEDED, len(self.text.tokens), Usage(0, 0))
                    self._end(other, finished)
        self._queue[operation_id] = operation

    def step(self, tokens: int) -> None:
        """Carry out the next operation, or some tokens of it."""
        operation_id, operation = next(iter(self._queue.items()))
        match operation:
            case Generate():
                self._generate(operation_id, operation, tokens)
            case Append() | Rewind() | Checkpoint() | Restore() | Discard():
                self._change(operation_id, lambda: self.text.change(operation))
            case Accept():
                self._change(operation_id, self.text.accept)
            case Save():
                self.make_safe(self.revision)
                if operation_id in self._queue:
                    self._end(operation_id, SafePoint(0, 0))
            case _:
                self._end(operation_id, self._read(operation))

    def lose_stream(self) -> None:
        self.attached = False
        self.answers.clear()
        self._unsent += [held for held in self._held if not isinstance(held[1], Piece)]
        self._held.clear()

    def crash(self, kept: int) -> bool:
        """Stop, and start again as of a revision; return whether the session is still there."""
        self.lose_stream()
        self._queue.clear()
        self._unsent.clear()
        self._held.clear()
        self._begin = None
        if kept < 0:
            assert self.safe is None
            self.exists = False
            return False
        stored = self.history[kept]
        del self.history[kept + 1 :]
        self.text = Text(stored.tokens, kept=stored.kept)
        self.done, self.revision, self.safe = stored.done, kept, kept
        return True

    def open_again(self) -> None:
        self.exists = True
        self.attached = True
        self.text, self.done, self.revision, self.safe = Text(), (), 0, None
        self.history = [Stored([], ())]

    def attach(self, offset: int | None) -> tuple[Attached, int, SafePoint | None]:
        tokens = self.text.tokens
        if not self.exists:
            raise NotFound("there is no such session")
        if offset is not None and offset > len(tokens):
            raise OutOfRange("the text is shorter")
        self.attached = True
        missed = "" if offset is None else "".join(tokens[offset:])
        attached = Attached("id", MODEL, 0, len(tokens), missed, tuple(self._queue), self.done)
        for operation_id, answer, at, safe in self._unsent:
            self.answers.append((operation_id, answer, at, safe))
        self._unsent.clear()
        return attached, self.revision, self.safe_point()

    def _generate(self, operation_id: int, message: Generate, tokens: int) -> None:
        if self._begin is None:
            if not self.text.tokens:
                self._reject(operation_id, FailedPrecondition("no text"))
                return
            self._begin = len(self.text.tokens)
            if message.HasField("start_offset"):
                if message.start_offset > len(self.text.tokens):
                    self._reject(operation_id, OutOfRange("the text is shorter"))
                    return
                self._begin = message.start_offset
        offset, written = len(self.text.tokens), ""
        for _ in range(tokens):
            token = self.text.next_token(message, self._begin)
            if isinstance(token, Finished):
                if written:
                    self._piece(operation_id, offset, written)
                self._finish(operation_id, token)
                return
            written += token
            self._advance()
        self._piece(operation_id, offset, written)

    def _piece(self, operation_id: int, offset: int, written: str) -> None:
        piece = Piece(offset, written, len(self.text.tokens))
        self._answer(operation_id, piece, self.revision)

    def _change(self, operation_id: int, do: Callable[[], FinalAnswer]) -> None:
        try:
            answer = do()
        except CellwireError as error:
            self._reject(operation_id, error)
            return
        self._finish(operation_id, answer)

    def _finish(self, operation_id: int, answer: FinalAnswer) -> None:
        self._remember(operation_id, answer)
        self._advance()
        self._begin = None
        self._end(operation_id, answer)

    def _reject(self, operation_id: int, error: CellwireError) -> None:
        self._remember(operation_id, error)
        self._begin = None
        del self._queue[operation_id]
        self._answer(operation_id, error, 0)

    def _read(self, operation: Operation) -> FinalAnswer | CellwireError:
        try:
            match operation:
                case Complete():
                    return self.text.complete()
                case Score():
                    return self.text.score(operation)
                case Fork():
                    if operation.session_id in self.forks:
                        return AlreadyExists("there is one")
                    self.forks.add(operation.session_id)
                    return Forked(operation.session_id, operation.seed, len(self.text.tokens))
                case Close():
                    return Closed()
                case _:
                    raise AssertionError(operation)
        except CellwireError as error:
            return error

    def _cancel(self, operation_id: int) -> None:
        operation = self._queue.get(operation_id)
        if operation is None:
            return
        running = next(iter(self._queue)) == operation_id
        begin = self._begin if running else None
        count = 0 if begin is None else len(self.text.tokens) - begin
        finished = Finished(FinishReason.CANCELLED, len(self.text.tokens), Usage(0, count))
        if running:
            self._begin = None
        if isinstance(operation, REMEMBERED_KINDS):
            self._remember(operation_id, finished)
        self._end(operation_id, finished)

    def _remember(self, operation_id: int, answer: FinalAnswer | CellwireError) -> None:
        self.done = (*self.done, Done(operation_id, answer))[-REMEMBERED:]

    def _advance(self) -> None:
        self.revision += 1
        self.history.append(Stored(self.text.tokens, self.done, self.text.kept))

    def _end(self, operation_id: int, answer: FinalAnswer | CellwireError) -> None:
        del self._queue[operation_id]
        changes = isinstance(answer, CHANGED)
        self._answer(operation_id, answer, self.revision if changes else 0)

    def _answer(self, operation_id: int, answer: Answer, revision: int) -> None:
        if self.safe_first and (self._held or revision > (-1 if self.safe is None else self.safe)):
            if self.attached:
                self._held.append((operation_id, answer, revision, None))
            elif not isinstance(answer, Piece):
                self._unsent.append((operation_id, answer, revision, None))
            return
        self._send(operation_id, answer, revision)

    def _send(self, operation_id: int, answer: Answer, revision: int) -> None:
        message = (operation_id, answer, revision, self.safe_point())
        if self.attached:
            self.answers.append(message)
        elif not isinstance(answer, Piece):
            self._unsent.append(message)
