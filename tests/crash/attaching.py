"""What an attach must say: which operations were carried out, and the text that they give."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from tests.crash.entry import Entry
from tests.crash.ledger import Ledger, Seen
from tests.crash.operations import Append, Generate
from tests.crash.text import UNKNOWN, agrees, difference, merged
from tests.crash.violation import check

from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.operations_pb2 import Attached, DoneOperation

REMEMBERED = 64  # operations


@dataclass(frozen=True, slots=True)
class Return:
    """How a client comes back to its session."""

    offset: int | None  # that it attaches with
    restarted: bool  # whether the daemon is another process than the last that it reached
    saved: bool  # whether that process ended by itself, and so had to make everything safe


def resolve(ledger: Ledger, response: StreamSessionResponse, back: Return) -> None:
    """Find out what was carried out and what was lost; Violation if it cannot be so."""
    attached = response.attached
    _check_revision(ledger, response.revision, back)
    ledger.lengths = {r: n for r, n in ledger.lengths.items() if r <= response.revision}
    if back.restarted:
        check(not attached.operation_ids, "operations run in a session that has just woken")
    last, lost = _carried_out(ledger, attached, response.revision)
    partial = attached.offset - len(ledger.carried_text)
    if lost:
        _lose(lost, partial, attached, back)
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
    if back.saved or not back.restarted:
        how = "ended by itself" if back.restarted else "goes on"
        check(
            revision >= ledger.revision,
            f"revision {revision} is back; the daemon {how}, and told {ledger.revision}",
        )


def _carried_out(ledger: Ledger, attached: Attached, revision: int) -> tuple[int, list[Entry]]:
    """Settle the operations that were carried out; return the last one's id, and the others."""
    done = _done(attached, revision)
    running = set(attached.operation_ids)
    unsafe = list(ledger.unsafe_changes())
    first = unsafe[0] if unsafe else None
    safe = [e for e in ledger.entries if e.changes_text and e not in unsafe]
    last = safe[-1].id if safe else 0
    if first is not None:
        ledger.carried_text = safe[-1].after if safe else ""
    lost: list[Entry] = []
    for entry in unsafe:
        if entry.id in done or (entry.answer is not None and entry.revision <= revision):
            _drop_idle(ledger, lost, entry, running)
            lost = []
            _settle(ledger, entry, done, revision)
            last = entry.id
        else:
            lost.append(entry)
    begun = next((at for at, entry in enumerate(lost) if entry.id in running), 0)
    if begun:
        _drop_idle(ledger, lost[:begun], lost[begun], running)
    return last, lost[begun:]


def _done(attached: Attached, revision: int) -> Mapping[int, DoneOperation]:
    revisions = [done.revision for done in attached.done]
    check(len(revisions) <= REMEMBERED, f"{len(revisions)} operations are remembered")
    check(revisions == sorted(set(revisions)), f"done operations are out of order: {revisions}")
    check(all(r <= revision for r in revisions), f"done after revision {revision}: {revisions}")
    return {done.operation_id: done for done in attached.done}


def _drop_idle(
    ledger: Ledger, skipped: Sequence[Entry], later: Entry, running: Collection[int]
) -> None:
    """Drop operations before one that was carried out: they must have ended without effect."""
    for entry in skipped:
        stops = isinstance(entry.operation, Generate) and entry.operation.stop_strings
        idle = (stops or entry.cancelled) and not entry.told and not entry.piece
        check(
            bool(idle) and entry.id not in running,
            f"operation {later.id} was carried out, and {entry.id} {entry.operation} before it "
            "was not",
        )
        ledger.drop(entry)


def _settle(
    ledger: Ledger, entry: Entry, done: Mapping[int, DoneOperation], revision: int
) -> None:
    """Take an operation as carried out, as its answer or `done` says."""
    operation = done.get(entry.id)
    if operation is None:
        later = len(done) == REMEMBERED and all(d.revision > entry.revision for d in done.values())
        check(
            later or entry.before == entry.after,
            f"operation {entry.id} was answered at revision {entry.revision}, and at {revision} "
            "is not done",
        )
        ledger.carried_text = entry.after
        return
    answer = getattr(operation, operation.WhichOneof("answer") or "")
    if entry.answer is None:
        ledger.settle(entry, answer, operation.revision)
        return
    check(
        answer == entry.answer and operation.revision == entry.revision,
        f"operation {entry.id} was answered {entry.revision}: {entry.answer}, and is done "
        f"{operation.revision}: {answer}",
    )
    ledger.carried_text = entry.after


def _lose(lost: list[Entry], partial: int, attached: Attached, back: Return) -> None:
    """Take operations as not carried out, but for the beginning of the first."""
    entry = lost[0]
    may_have = isinstance(entry.operation, Generate) or (
        isinstance(entry.operation, Append) and not back.restarted
    )
    most = entry.most if may_have else 0
    least = 0 if back.restarted else len(entry.piece)
    check(
        least <= partial <= most,
        f"the text ends at {attached.offset}, {partial} tokens after what was carried out; next "
        f"is operation {entry.id} {entry.operation}",
    )
    for each in lost:
        tokens = partial if each is entry else 0
        if each.id in attached.operation_ids or not back.restarted:
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
    elif not isinstance(entry.operation, Generate) and len(text) > len(ledger.carried_text):
        check(
            agrees(entry.addition[: len(entry.piece)], text[len(ledger.carried_text) :]),
            f"the beginning of operation {entry.id} is another text",
        )
    else:
        length = len(ledger.carried_text)
        ledger.carried_text = entry.before = text[:length]
        entry.piece = text[length:]


def _wrong_length(ledger: Ledger, attached: Attached, last: int) -> str:
    return (
        f"the text ends at {attached.offset} after operation {last}; it must at "
        f"{len(ledger.carried_text)}: {difference(ledger.carried_text, attached.missed.text)}"
    )
