"""Commits to a Redis server: placed, sent, and tried again where a session was elsewhere."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from dataclasses import replace

from cellwire.server.errors import Aborted, DamagedRecord, StoreFailed
from cellwire.server.store.checks import damaged, not_stored
from cellwire.server.store.leases import held_by_another
from cellwire.server.store.recent_writes import Recent, RecentWrites
from cellwire.server.store.record import Damaged
from cellwire.server.store.redis_claims import Claim, Claims
from cellwire.server.store.redis_link import RedisLink, StoreFull
from cellwire.server.store.redis_rows import Held
from cellwire.server.store.redis_sender import Refusal, Sender, Sent
from cellwire.server.store.redis_wanted import Lost, Placer, Wanted, parts, read_held
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import effective

_ATTEMPTS = 4


class Committer:
    """Commits writes of sessions that this daemon holds. One thread at a time; StoreFailed."""

    def __init__(
        self,
        link: RedisLink,
        daemon_id: str,
        claims: Claims,
        recent: Recent,
        has_changed: Callable[[], bool],
    ) -> None:
        """`has_changed` tells whether the server may have lost what was safe; StoreFailed."""
        self._has_changed = has_changed
        self._link = link
        self._daemon_id = daemon_id
        self._claims = claims
        self._recent = recent
        self._placer = Placer(link, daemon_id, claims)
        self._sender = Sender(link, daemon_id)

    def commit(self, wanted: Sequence[Wanted]) -> None:
        """Carry out the writes of sessions: of all, or of none; RefusedWrite.

        A server that is full carries out only what frees memory or a session.
        """
        try:
            self._commit(wanted, beyond=False)
        except StoreFull:
            self._commit([it for it in wanted if it.frees], beyond=True)
            raise

    def _commit(self, wanted: Sequence[Wanted], *, beyond: bool) -> None:
        repaired = False
        for _ in range(_ATTEMPTS):
            try:
                placed = self._placer.place(wanted)
                outcome = self._sender.send(placed, beyond=beyond)
            except Lost as loss:
                # A server that goes on has lost nothing: another daemon has deleted the session.
                if repaired or not self._has_changed():
                    raise self._given_up(loss) from loss
                repaired = True
                self.repair()
                continue
            except RefusedWrite as refused:
                if self._is_refused(refused):
                    raise
                continue
            except StoreFailed:
                self._claims.doubt(it.session_id for it in wanted)
                raise
            if isinstance(outcome, list):
                self._note(wanted, outcome)
                return
            self._refuse(outcome)
        raise StoreFailed(f"another program writes Cellwire's sessions in {self._link.name}")

    def repair(self) -> None:
        """Write again what was written in the last seconds, for a server that may have lost it.

        A session of which more is lost than is known here stays as it is: its next write is
        refused, so that no text has a hole.
        """
        recent = self._recent.by_session()
        reads = read_held(self._link, list(recent))
        lost: list[Wanted] = []
        for name, entries in recent.items():
            # What is damaged is told when the session is used.
            with contextlib.suppress(Damaged):
                wanted = _lost(entries, Held.read(name, reads[name]()), self._daemon_id)
                lost += [wanted] if wanted else []
        for part in parts(lost):
            self._write_again(part)

    def _write_again(self, lost: Sequence[Wanted]) -> None:
        """Write what was lost, without the sessions that the server or a check refuses."""
        while lost:
            try:
                outcome = self._sender.send(lost, again=True)
            except RefusedWrite as refused:
                refusal = refused.session_id
            else:
                if isinstance(outcome, list):
                    self._note_repaired(outcome)
                    return
                refusal = outcome.session_id
            lost = [it for it in lost if it.session_id != refusal]

    def _note_repaired(self, carried_out: Sequence[Sent]) -> None:
        for sent in carried_out:
            claim = self._claims.get(sent.wanted.session_id)
            # It may have been claimed anew, or lost, since it was written.
            if claim is not None and claim.epoch == sent.epoch:
                self._note_place(sent)

    def _note(self, wanted: Sequence[Wanted], carried_out: Sequence[Sent]) -> None:
        for sent in carried_out:
            self._note_place(sent)
            if not sent.epoch:
                continue  # deleted before
            before = sent.group.before
            base = before.position.revision if before and not sent.wanted.deletes else -1
            entry = RecentWrites(sent.wanted.session_id, base, sent.epoch, sent.wanted.writes)
            self._recent.add(entry)
        done = {it.session_id for it in wanted} - {it.wanted.session_id for it in carried_out}
        for name in done:  # released before
            self._claims.drop(name)

    def _note_place(self, sent: Sent) -> None:
        name = sent.wanted.session_id
        if sent.group.releases or sent.group.after is None:
            self._claims.drop(name)
        else:
            self._claims.note(name, Claim(sent.epoch, sent.group.after))

    def _is_refused(self, refused: RefusedWrite) -> bool:
        """Whether another attempt would not help; RefusedWrite if a session is another daemon's.

        What is read of a session that another daemon writes may look damaged.
        """
        name = refused.session_id
        claim = self._claims.get(name)
        if isinstance(refused.error, Aborted):
            self._claims.drop(name)
        elif isinstance(refused.error, DamagedRecord) and claim is not None:
            with contextlib.suppress(Damaged):
                held = Held.read(name, read_held(self._link, [name])[name]())
                if held and held.epoch > claim.epoch and held.holder != self._daemon_id:
                    self._claims.drop(name)
                    raise RefusedWrite(name, held_by_another(name)) from refused
            self._claims.doubt([name])
            return not claim.is_certain
        return True

    def _refuse(self, refusal: Refusal) -> None:
        """Raise RefusedWrite unless another attempt may help."""
        name = refusal.session_id
        match refusal.why:
            case "held":
                self._claims.drop(name)
                raise RefusedWrite(name, held_by_another(name))
            case "damaged":
                found = Damaged("its changes are not where they belong")
                raise RefusedWrite(name, damaged(name, found))
            case _:
                self._claims.doubt([name])

    def _given_up(self, loss: Lost) -> RefusedWrite:
        """Return the error of a session that the server has lost too much of."""
        name = loss.session_id
        self._claims.drop(name)
        if loss.found is None:
            return RefusedWrite(name, not_stored(name))
        return RefusedWrite(
            name,
            Aborted(
                f"the Redis server {self._link.name} has lost what was safe of the session "
                f"{name!r}: it was safe up to revision {loss.safe}, and is stored up to revision "
                f"{loss.found}; attach to it again, or restore it from an export"
            ),
        )


def _lost(entries: Sequence[RecentWrites], held: Held | None, daemon_id: str) -> Wanted | None:
    """Return what is to be written again of a session, if anything; Damaged."""
    name = entries[0].session_id
    writes = effective([write for entry in entries for write in entry.writes])
    deletions = [at for at, entry in enumerate(entries) if Wanted(name, entry.writes).deletes]
    if deletions:
        entries = entries[deletions[-1] :]
        writes = effective([write for entry in entries for write in entry.writes])
    epoch = entries[-1].epoch
    wanted = Wanted(name, writes, epoch)
    if held is None:
        # A deletion again, so that it is known to who would write the session again.
        return wanted if wanted.create or wanted.only_deletes else None
    if held.epoch > epoch or (held.epoch == epoch and held.holder != daemon_id):
        return None  # claimed since, or released
    if wanted.deletes:
        if wanted.only_deletes or held.epoch < epoch:
            return wanted
        wanted = Wanted(name, writes[1:], epoch)
    elif wanted.create and not wanted.is_of(held):
        return None
    place = held.has_come_to()
    if entries[0].base > place.position.revision:
        return None
    return replace(wanted, place=place)
