"""What an attach must say: which operations were carried out, and the text that they give."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tests.crash.entries import Seen
from tests.crash.entry import Entry
from tests.crash.ledger import Ledger
from tests.crash.operations import Generate, Restore
from tests.crash.text import UNKNOWN, agrees, difference, merged
from tests.crash.violation import check
from tests.crash.whereabouts import Move

from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.operations_pb2 import (
    FINISH_REASON_CANCELLED,
    Attached,
    DoneOperation,
    Usage,
)

REMEMBERED = 64  # operations


@dataclass(frozen=True, slots=True)
class Return:
    """How a client comes back to its session."""

    offset: int | None  # that it attaches with
    move: Move  # of the session, from the last process that was reached


def resolve(ledger: Ledger, response: StreamSessionResponse, back: Return) -> None:
    """Find out what was carried out and what was lost; Violation if it cannot be so."""
    attached = response.attached
    _check_revision(ledger, response.revision, back)
    ledger.lengths = {r: n for r, n in ledger.lengths.items() if r <= response.revision}
    if back.move.sure:
        check(not attached.operation_ids, "operations run in a session that has just woken")
    last, lost = _carried_out(ledger, attached, response.revision)
    partial = attached.offset - len(ledger.carried_text)
    if lost:
        _lose(ledger, lost, partial, attached, back)
    else:
        check(partial == 0, _wrong_length(ledger, attached, last))
    _check_text(ledger, attached, back.offset)
    ledger.seen.append(Seen(last, ledger.text))
    ledger.revision = response.revision
    length = ledger.lengths.setdefault(response.revision, attached.offset)
    check(
        length == attached.offset,
        f"revision {response.revision} ends at {attached.offset}, and ended at {length}",
    )


def _check_revision(ledger: Ledger, revision: int, back: Return) -> None:
    safe = ledger.safe.revision
    check(revision >= safe, f"revision {revision} is back; {safe} was said to be safe")
    if back.move.saved or not back.move.restarted:
        how = "has made all safe" if back.move.restarted else "goes on"
        check(
            revision >= ledger.revision,
            f"revision {revision} is back; the daemon {how}, and told {ledger.revision}",
        )


def _carried_out(ledger: Ledger, attached: Attached, revision: int) -> tuple[int, list[Entry]]:
    """Settle the operations that were carried out; return the last one's id, and the others."""
    check(len(attached.done) <= REMEMBERED, f"{len(attached.done)} operations are remembered")
    done = {operation.operation_id: operation for operation in attached.done}
    _drop_cancelled(ledger, attached)
    unsafe = list(ledger.unsafe_changes())
    safe = [e for e in ledger.entries if e.changes_text and e not in unsafe]
    last = safe[-1].id if safe else 0
    if unsafe:
        ledger.carried_text = safe[-1].after if safe else ""
    lost: list[Entry] = []
    for entry in unsafe:
        if entry.id in done or (entry.answer is not None and entry.revision <= revision):
            _check_order(entry, lost, "was carried out")
            if _settle(ledger, entry, done, revision):
                last = entry.id
        else:
            if entry.id in attached.operation_ids:
                running = [e for e in lost if e.id not in attached.operation_ids]
                _check_order(entry, running, "is running")
            lost.append(entry)
    order = [number for number in done if ledger.find(number)]
    check(order == sorted(order), f"done operations are out of order: {order}")
    return last, lost


def _drop_cancelled(ledger: Ledger, attached: Attached) -> None:
    """Drop operations that were cancelled while they waited: they end before those before them."""
    for operation in attached.done:
        entry = ledger.find(operation.operation_id)
        finished = operation.finished
        idle = finished.reason == FINISH_REASON_CANCELLED and finished.usage == Usage()
        if entry is not None and entry.answer is None and idle and not entry.piece:
            check(entry.cancelled, f"operation {entry.id} is cancelled, and nobody asked for it")
            ledger.drop(entry)


def _check_order(entry: Entry, skipped: Sequence[Entry], how: str) -> None:
    check(
        not skipped,
        f"operation {entry.id} {how}, and one before it was not: {skipped[:1]}",
    )


def _settle(ledger: Ledger, entry: Entry, done: Mapping[int, DoneOperation], revision: int) -> bool:
    """Take an operation as carried out, as its answer or `done` says; False if without effect."""
    operation = done.get(entry.id)
    if operation is None:
        later = len(done) == REMEMBERED and min(done) > entry.id
        check(
            later,
            f"operation {entry.id} was answered at revision {entry.revision}, and at {revision} "
            "is not done",
        )
        ledger.carried_text = entry.after
        return True
    answer = getattr(operation, operation.WhichOneof("answer") or "")
    if entry.answer is None:
        entry.from_done = True
        return ledger.settle(entry, answer, revision)
    check(
        answer == entry.answer,
        f"operation {entry.id} was answered by {entry.answer}, and is done with {answer}",
    )
    ledger.carried_text = entry.after
    return True


def _lose(
    ledger: Ledger, lost: list[Entry], partial: int, attached: Attached, back: Return
) -> None:
    """Take operations as not carried out, but for the beginning of the first."""
    entry = lost[0]
    most = entry.most if isinstance(entry.operation, Generate) else 0
    least = 0 if back.move.restarted else len(entry.piece)
    check(
        least <= partial <= most,
        f"the text ends at {attached.offset}, {partial} tokens after what was carried out; next "
        f"is operation {entry.id} {entry.operation}",
    )
    if any(isinstance(each.operation, Restore) for each in lost):
        # The text is what it was before, and so is how far it can be rewound.
        ledger.high = max(each.high for each in ledger.entries)
    for each in lost:
        tokens = partial if each is entry else 0
        if each.id in attached.operation_ids or not back.move.restarted:
            each.told = merged(each.told, each.piece)
            each.piece = (each.told + UNKNOWN * tokens)[:tokens]
        else:
            each.lose(tokens)


def _check_text(ledger: Ledger, attached: Attached, offset: int | None) -> None:
    """Compare the text after `offset` with what is known of it, and learn the rest."""
    known = ledger.text
    start = len(known) if offset is None else offset
    missed = attached.missed
    if attached.HasField("missed"):
        ends = (missed.offset, missed.end_offset)
        check(ends == (start, len(known)), f"missed {ends} of a text of {start}-{len(known)}")
    text = known[:start] + missed.text
    check(agrees(known, text), f"the text is another one: {difference(known, text)}")
    entry = ledger.next_change
    text = merged(known, text)
    if entry is None:
        ledger.carried_text = text
    else:
        length = len(ledger.carried_text)
        ledger.carried_text = entry.before = text[:length]
        entry.piece = text[length:]


def _wrong_length(ledger: Ledger, attached: Attached, last: int) -> str:
    return (
        f"the text ends at {attached.offset} after operation {last}; it must at "
        f"{len(ledger.carried_text)}: {difference(ledger.carried_text, attached.missed.text)}"
    )
