"""The same operations in a session that nothing interrupts, and what must be equal, bit for bit."""

from __future__ import annotations

from collections import defaultdict
from typing import NamedTuple

from tests.crash.entry import Answer, Entry
from tests.crash.ledger import Ledger
from tests.crash.operations import (
    Accept,
    Checkpoint,
    Fork,
    Generate,
    Restore,
    Rewind,
    Save,
    complete_request,
    request,
)
from tests.crash.stream import Stream
from tests.crash.stub import Stub
from tests.crash.text import agrees, difference
from tests.crash.violation import check

from cellwire.v1.operations_pb2 import FINISH_REASON_CANCELLED, Appended, Finished, Scored

_FORK_ID = 3  # below those of operations


async def compare(ledger: Ledger, stub: Stub, window: int) -> None:
    """Carry out a ledger's operations one after the other, without a store.

    Violation unless everything that was told of the session is what this one tells.
    """
    replay = Replay(ledger, stub)
    await replay.run(window)


class _Kept(NamedTuple):
    session_id: str
    text: str


class Replay:
    """A session that nothing interrupts."""

    def __init__(self, ledger: Ledger, stub: Stub) -> None:
        self._ledger = ledger
        self._stub = stub
        self._stream = Stream(stub)
        self._text = ""
        self._seed = ledger.seed
        self._kept: dict[str, _Kept] = {}
        self._seen: dict[int, list[str]] = defaultdict(list)
        for seen in ledger.seen:
            self._seen[seen.after].append(seen.text)

    async def run(self, window: int) -> None:
        await self._stream.open(seed=self._ledger.seed, rewind_window=window)
        last = 0
        for entry in self._ledger.entries:
            before = self._text
            await self._carry_out(entry)
            if entry.changes_text:
                self._check_seen(last, before)
                last = entry.id
        self._check_seen(last, self._text)
        text = self._ledger.text
        check(
            agrees(text, self._text),
            f"the whole text is another one: {difference(text, self._text)}",
        )
        await self._forget_kept()
        await self._stream.close()

    async def _carry_out(self, entry: Entry) -> None:
        match entry.operation:
            case Save():
                return
            case Fork(session_id=copy, seed=seed):
                if copy in self._ledger.lineage:
                    await self._follow(seed)
                return
            case Accept():
                await self._complete(entry, entry.operation)
            case Checkpoint(name=name):
                await self._keep(name)
                return
            case Restore(name=name):
                await self._come_back(name)
                return
        responses = await self._stream.ask(request(entry.id, entry.operation, None))
        last = responses[-1]
        answer = getattr(last, last.WhichOneof("answer") or "")
        addition = "".join(response.chunk.text for response in responses)
        if isinstance(answer, Appended):
            addition = entry.addition
        self._text += addition
        if isinstance(entry.operation, Rewind):
            self._text = self._text[: -entry.operation.tokens]
        if isinstance(entry.operation, Generate):
            check(
                agrees(entry.piece, addition),
                f"{entry.operation} gives {addition!r}, and gave another text: "
                f"{difference(entry.piece, addition)}",
            )
        _compare_answers(entry, answer)

    async def _complete(self, entry: Entry, accept: Accept) -> None:
        completed = (await self._stream.ask(complete_request(entry.id, accept)))[-1].completed
        check(completed == entry.completed, f"{accept} finds {completed} and not {entry.completed}")

    async def _keep(self, name: str) -> None:
        """Keep a copy: sessions without a store have no checkpoints, and no need of them."""
        if name in self._kept:
            await self._delete(self._kept[name].session_id)
        self._kept[name] = _Kept(await self._copy(self._seed), self._text)

    async def _come_back(self, name: str) -> None:
        """Go on with the copy, and keep a copy of that."""
        kept = self._kept[name]
        await self._go_on_in(kept.session_id)
        self._text = kept.text
        self._kept[name] = _Kept(await self._copy(self._seed), kept.text)

    async def _follow(self, seed: int) -> None:
        """Go on with a copy, which has no checkpoints."""
        copy = await self._copy(seed)
        await self._forget_kept()
        await self._go_on_in(copy)
        self._seed = seed

    async def _go_on_in(self, session_id: str) -> None:
        await self._stream.close()
        self._stream = Stream(self._stub)
        await self._stream.attach(session_id=session_id)

    async def _copy(self, seed: int) -> str:
        """Return the id of a copy."""
        message = request(_FORK_ID, Fork("", seed), None)
        message.fork.ClearField("session_id")
        return (await self._stream.ask(message))[-1].forked.session_id

    async def _forget_kept(self) -> None:
        for kept in self._kept.values():
            await self._delete(kept.session_id)
        self._kept.clear()

    async def _delete(self, session_id: str) -> None:
        stream = Stream(self._stub)
        await stream.attach(session_id=session_id)
        await stream.close()

    def _check_seen(self, after: int, before: str) -> None:
        """Check what attaches have shown after an operation, and in the middle of the next."""
        for text in self._seen.pop(after, []):
            begun = text[len(before) : len(self._text)]
            expected = before + self._text[len(before) :][: len(begun)]
            check(
                agrees(text[: len(expected)], expected),
                f"the text that an attach showed after operation {after} was another one: "
                f"{difference(text, expected)}",
            )


def _compare_answers(entry: Entry, answer: Answer) -> None:
    told = entry.answer
    if isinstance(told, Finished) and told.reason == FINISH_REASON_CANCELLED:
        return
    if isinstance(told, Finished) and isinstance(answer, Finished):
        check(told.offset == answer.offset, f"operation {entry.id} ended elsewhere: {told}")
        # A generate that was cancelled, lost and asked again has ended at its greatest length.
        same = (told.reason, told.stop_string, told.usage) == (
            answer.reason,
            answer.stop_string,
            answer.usage,
        )
        check(same, f"{entry.operation} ended with {told}, and uninterrupted with {answer}")
    if isinstance(told, Appended | Scored):
        check(told == answer, f"{entry.operation} is answered by {answer}, and was by {told}")
