"""One operation of a session in its client's memory: what was asked, and what was told of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tests.crash.operations import (
    Accept,
    Append,
    Fork,
    Generate,
    Operation,
    Restore,
    Rewind,
    Save,
    Score,
    TextChange,
)
from tests.crash.text import UNKNOWN, begins_alike, difference, merged
from tests.crash.violation import check

from cellwire.v1.operations_pb2 import (
    FINISH_REASON_CANCELLED,
    Appended,
    Checkpointed,
    Completed,
    Finished,
    Forked,
    Restored,
    Rewound,
    Saved,
    Scored,
)

Answer = Appended | Finished | Rewound | Forked | Scored | Saved | Checkpointed | Restored


@dataclass(slots=True)
class Entry:
    """An operation, its answer as long as it stands, and what was told before it was lost."""

    id: int
    operation: Operation
    before: str = ""  # the text that it found; known once it is the next to be answered
    piece: str = ""  # what it has added so far
    kept: str = ""  # the text that a restore comes back to
    high: int = 0  # the most tokens that the text may have had at a checkpoint
    told: str = ""  # what it had added before a loss: the same must come again
    answer: Answer | None = None  # None while it runs, waits, or is lost
    told_answer: Answer | None = None  # the answer that was lost
    revision: int = 0  # that the answer told; of one that `done` told, the most that it can be
    from_done: bool = False
    sent: bool = False  # to the daemon that is connected now
    again: bool = False  # whether a daemon may have carried out a part of it before
    cancelled: bool = False  # by its client
    completed: Completed | None = None  # of an accept: what its complete found

    @property
    def changes_text(self) -> bool:
        return isinstance(self.operation, TextChange)

    @property
    def after(self) -> str:
        """The text after what was carried out so far."""
        if isinstance(self.operation, Rewind):
            return self.before[: -self.operation.tokens] if self.answer else self.before
        if isinstance(self.operation, Restore):
            return self.kept if self.answer else self.before
        return self.before + self.piece

    @property
    def addition(self) -> str:
        """What an append or an accept adds."""
        if isinstance(self.operation, Append):
            return self.operation.text
        assert isinstance(self.operation, Accept)
        assert self.completed is not None, "an accept is sent after its completions"
        return self.completed.completions[0].text[: self.operation.tokens or None]

    @property
    def most(self) -> int:
        """The most tokens that it may add."""
        match self.operation:
            case Append(text=text):
                return len(text)
            case Accept():
                return self.operation.tokens or self.operation.max_tokens
            case Generate(max_tokens=most):
                return most
            case _:
                return 0

    def extend(self, text: str) -> None:
        """Add generated text."""
        self.piece += text
        check(
            begins_alike(self.told, self.piece),
            f"generate {self.id} tells another text than before a loss: "
            f"{difference(self.told[: len(self.piece)], self.piece[: len(self.told)])}",
        )
        check(len(self.piece) <= self.most, f"generate {self.id} goes on after its max_tokens")

    def put_answer(self, answer: Answer, revision: int) -> None:
        """Take the final answer, once `piece` is all that it has added."""
        self.answer, self.revision = answer, revision
        self.told = merged(self.told, self.piece)
        if self.told_answer is not None:
            check(
                _same(self.told_answer, answer, self.operation),
                f"operation {self.id} is answered by {_line(answer)}, "
                f"and was by {_line(self.told_answer)} before a loss",
            )

    def lose(self, carried: int) -> None:
        """Keep the first `carried` characters of what it had added, and no answer."""
        if self.answer is not None:
            self.told_answer, self.answer, self.revision = self.answer, None, 0
            self.from_done = False
        self.told = merged(self.told, self.piece)
        self.piece = (self.told[:carried] + UNKNOWN * carried)[:carried]
        self.sent = self.cancelled = False
        self.again = True

    def forget_told(self) -> None:
        """Expect nothing: the text before is another one than it was."""
        self.told, self.told_answer, self.completed = "", None, None

    def cut_to(self, tokens: int) -> None:
        """Let the operation be what was carried out of it before it was cancelled."""
        self.told, self.told_answer = self.told[:tokens], None
        match self.operation:
            case Append(text=text):
                self.operation = Append(text[:tokens])
            case Generate():
                self.operation = replace(self.operation, max_tokens=tokens)
            case Accept():
                self.operation = replace(self.operation, tokens=tokens)


def _same(told: Answer, answer: Answer, operation: Operation) -> bool:
    """Whether an operation carried out again has the same answer, bit for bit."""
    if isinstance(told, Finished) and told.reason == FINISH_REASON_CANCELLED:
        # It is sent again for exactly as many tokens, and ends by itself.
        return isinstance(answer, Finished | Appended) and told.offset == answer.offset
    if isinstance(operation, Save | Fork | Score):
        return type(told) is type(answer)
    return told == answer


def _line(answer: Answer) -> str:
    return f"{type(answer).__name__}({' '.join(str(answer).split())})"
