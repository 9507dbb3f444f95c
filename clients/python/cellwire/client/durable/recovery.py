"""A session is attached to again: what is there, and what has to be done again."""

from __future__ import annotations

from cellwire.client.durable.entry import Entry, Kind, State
from cellwire.client.durable.journal import Journal
from cellwire.client.errors import Aborted, CellwireError, DataLoss, OutOfRange
from cellwire.client.values import (
    Attached,
    Done,
    Finished,
    FinishReason,
    Piece,
    SafePoint,
    Usage,
)


def adopt(journal: Journal, attached: Attached, revision: int, safe: SafePoint | None) -> None:
    """Begin with a session that another client has opened."""
    journal.outgoing.connect()
    journal.offset, journal.revision, journal.found_at = attached.offset, revision, revision
    journal.foreign_ids.update(attached.operation_ids)
    journal.foreign_ids.update(done.operation_id for done in attached.done)
    for operation_id in attached.operation_ids:
        entry = Entry(operation_id, Kind.GENERATE, None, operation_id, State.SENT, begun=True)
        entry.begin = entry.end = attached.offset
        entry.begin_revision = revision
        journal.entries[operation_id] = journal.outgoing.sent[operation_id] = entry
    journal.note_safe(safe)


def missing_from(journal: Journal) -> int | None:
    """Return the offset from which text is missing, to attach with; None if none is wanted."""
    reading = _reading(journal)
    return None if reading is None else reading.end


def recover(
    journal: Journal,
    attached: Attached,
    revision: int,
    safe: SafePoint | None,
    *,
    with_text: bool = True,
) -> None:
    """Take the answer to an attach after a loss, and send what is not there.

    with_text tells whether the attach has asked for the text from `missing_from` on.
    """
    journal.outgoing.connect()
    journal.offset, journal.revision = attached.offset, revision
    if (failure := _broken_promise(journal, attached, revision)) is not None:
        journal.fail(failure)
        return
    if (reading := _reading(journal)) is not None:
        _give_missed(journal, reading, attached, revision, with_text=with_text)
    done = {one.operation_id: one for one in attached.done}
    for entry in list(journal.entries.values()):
        if not entry.in_flight:
            _find_lost(journal, entry, revision, done)
        elif entry.operation_id in attached.operation_ids:
            journal.outgoing.sent[entry.operation_id] = entry
            entry.again = ""  # what came of it meanwhile is not known; its end will be compared
            if entry.cancelled and entry.answer is None and entry.state is State.SENT:
                journal.outgoing.cancel(entry)
        elif entry.state is State.SENT and entry.operation_id in done:
            journal.take_done(entry, done[entry.operation_id])
        else:
            _ask_again(journal, entry)
    journal.note_safe(safe)
    journal.send()


def _reading(journal: Journal) -> Entry | None:
    """Return the generate whose text was on its way: there is one at most."""
    for entry in journal.entries.values():
        if entry.kind is Kind.GENERATE and entry.state is State.SENT:
            return entry
    return None


def _broken_promise(journal: Journal, attached: Attached, revision: int) -> CellwireError | None:
    """Return why the session is not the one that this client knows."""
    safe = journal.safe.revision if journal.safe is not None else 0
    if revision < safe:
        return DataLoss(
            f"the daemon has the session as of revision {revision}, though it has said that "
            f"revision {safe} was safe; its store has lost what was acknowledged"
        )
    if revision < journal.found_at:
        return DataLoss(
            f"the daemon has lost what was in the session when it was attached to, and was not "
            f"safe: it was at revision {journal.found_at}, and is at {revision}"
        )
    for done in attached.done:
        own = journal.outgoing.is_own(done.operation_id)
        if not own and done.operation_id not in journal.foreign_ids:
            return Aborted(
                "another client has changed the session while the connection was lost; attach to "
                "it anew to go on from there"
            )
    return None


def _give_missed(
    journal: Journal, entry: Entry, attached: Attached, revision: int, *, with_text: bool
) -> None:
    """Give the text that was generated while the connection was lost."""
    if revision < entry.begin_revision or attached.offset <= entry.end:
        return  # it has not begun, or has come less far
    if not with_text:
        journal.fail(
            OutOfRange(
                f"the daemon no longer keeps the text from offset {entry.end} on, which was "
                f"generated while the connection was lost; the session is at {attached.offset}"
            )
        )
        return
    piece = Piece(entry.end, attached.missed, attached.offset)
    entry.give(piece, revision)
    if piece.text:
        journal.gives.append((entry.key, piece))


def _find_lost(journal: Journal, entry: Entry, revision: int, done: dict[int, Done]) -> None:
    """Do again what was answered, if the daemon has lost it before it was safe."""
    if entry.state is not State.DONE or entry.revision <= revision or entry.operation_id in done:
        return
    entry.state = State.WAITING
    if entry.operation is None:
        journal.fail(_not_ours())


def _ask_again(journal: Journal, entry: Entry) -> None:
    """Send an operation again that was not carried out, or whose answer is not remembered."""
    entry.state = State.WAITING
    if entry.operation is None:
        journal.fail(_not_ours())
    elif entry.kind is Kind.COMPLETE and journal.changed_after(entry):
        finished = Finished(FinishReason.SUPERSEDED, journal.offset, Usage(0, 0))
        journal.answer(entry, finished)


def _not_ours() -> Aborted:
    return Aborted(
        "the daemon has lost an operation that another client had begun; only that client can send "
        "it again"
    )
