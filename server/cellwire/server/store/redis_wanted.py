"""The writes that are wanted of sessions, and where these are in a Redis server."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from cellwire.server.errors import AlreadyExists
from cellwire.server.store.checks import damaged
from cellwire.server.store.leases import held_by_another
from cellwire.server.store.recent_writes import size_of
from cellwire.server.store.record import Damaged
from cellwire.server.store.redis_claims import Claim, Claims
from cellwire.server.store.redis_keys import Place, hash_key
from cellwire.server.store.redis_link import Read, RedisLink
from cellwire.server.store.redis_rows import HELD_FIELDS, Held, read_header
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.writes import Create, Delete, Release, Write

MOST_BYTES = 1024 * 1024
"""Of one script, so that no commit keeps the server from others for long."""


class Lost(Exception):
    """The server has lost what was safe."""

    def __init__(self, session_id: str, safe: int, found: int | None) -> None:
        """`found` is the revision that is stored; None if the session is not."""
        super().__init__(session_id, safe, found)
        self.session_id = session_id
        self.safe = safe
        self.found = found


@dataclass(frozen=True, slots=True)
class Wanted:
    """The writes of one session that are to be committed."""

    session_id: str
    writes: Sequence[Write]
    epoch: int = 0  # of the claim that they were made under; 0: of none that is known
    place: Place | None = None  # that is stored; None: the session is not there

    @property
    def create(self) -> Create | None:
        """The creation of the session, if it is one of them."""
        return next((write for write in self.writes if isinstance(write, Create)), None)

    @property
    def deletes(self) -> bool:
        """Whether they begin with a deletion."""
        return isinstance(self.writes[0], Delete)

    @property
    def only_deletes(self) -> bool:
        """Whether there is no session afterwards."""
        return self.deletes and self.create is None

    @property
    def releases(self) -> bool:
        """Whether they release the session."""
        return isinstance(self.writes[-1], Release)

    @property
    def frees(self) -> bool:
        """Whether they add nothing: they only delete or release a session."""
        return all(isinstance(write, Delete | Release) for write in self.writes)

    def is_of(self, held: Held) -> bool:
        """Whether the session that they create is the one that is stored; Damaged."""
        header = read_header(self.session_id, held.header)
        return self.create is not None and header == self.create.header


def by_session(writes: Iterable[Write]) -> list[Wanted]:
    """Return the writes of each session."""
    found: dict[str, list[Write]] = {}
    for write in writes:
        found.setdefault(write.session_id, []).append(write)
    return [Wanted(name, its) for name, its in found.items()]


def parts(wanted: Iterable[Wanted]) -> Iterator[list[Wanted]]:
    """Yield sessions with their writes, as many at a time as one script takes."""
    part: list[Wanted] = []
    size = 0
    for each in wanted:
        more = sum(map(size_of, each.writes))
        if part and size + more > MOST_BYTES:
            yield part
            part, size = [], 0
        part.append(each)
        size += more
    if part:
        yield part


def read_held(link: RedisLink, session_ids: Sequence[str]) -> dict[str, Read]:
    """Return what returns HELD_FIELDS of each session, or raises Damaged."""
    reads = link.read_each([("HMGET", hash_key(name), *HELD_FIELDS) for name in session_ids])
    return dict(zip(session_ids, reads, strict=True))


class Placer:
    """Finds out where sessions are, and which epoch their writes have."""

    def __init__(self, link: RedisLink, daemon_id: str, claims: Claims) -> None:
        self._link = link
        self._daemon_id = daemon_id
        self._claims = claims

    def place(self, wanted: Sequence[Wanted]) -> list[Wanted]:
        """Return what is to be written, and where; nothing of what is written already.

        RefusedWrite, Lost, StoreFailed.
        """
        reads = read_held(self._link, [it.session_id for it in wanted if self._is_unknown(it)])
        placed = [self._placed(it, reads.get(it.session_id)) for it in wanted]
        return [it for it in placed if it is not None]

    def _is_unknown(self, wanted: Wanted) -> bool:
        claim = self._claims.get(wanted.session_id)
        known = claim is not None and claim.is_certain and claim.place is not None
        return not known or wanted.create is not None

    def _placed(self, wanted: Wanted, read: Read | None) -> Wanted | None:
        name = wanted.session_id
        claim = self._claims.get(name)
        if read is None:
            assert claim is not None
            return replace(wanted, epoch=claim.epoch, place=claim.place)
        try:
            held = Held.read(name, read())
            return self._found(wanted, claim, held)
        except Damaged as error:
            if wanted.only_deletes:
                return replace(wanted, epoch=claim.epoch if claim else 0)
            raise RefusedWrite(name, damaged(name, error)) from error

    def _found(self, wanted: Wanted, claim: Claim | None, held: Held | None) -> Wanted | None:
        """Return what is to be written of a session as it was found; Damaged."""
        epoch = claim.epoch if claim else 0
        if held is None:
            if claim is not None and claim.place is not None and not wanted.create:
                _check_loss(wanted, claim, None)
            return replace(wanted, epoch=epoch)
        if wanted.releases and claim is not None and held.released >= epoch:
            return None
        # A claim may have succeeded without this daemon's hearing of it.
        is_mine = held.holder == self._daemon_id
        latest = max(epoch, held.epoch) if is_mine else epoch
        if wanted.only_deletes:
            return replace(wanted, epoch=latest)
        if wanted.create is not None:
            if not self._is_created(wanted, held, epoch):
                return replace(wanted, epoch=latest)
            if not is_mine:
                return None  # and released
            wanted = replace(wanted, writes=wanted.writes[wanted.deletes :])
        elif held.epoch > epoch and not is_mine:
            raise RefusedWrite(wanted.session_id, held_by_another(wanted.session_id))
        place = held.has_come_to()
        _check_loss(wanted, claim, place)
        return replace(wanted, epoch=latest, place=place)

    def _is_created(self, wanted: Wanted, held: Held, epoch: int) -> bool:
        """Whether the session that was found is the one to be created; RefusedWrite, Damaged."""
        name = wanted.session_id
        is_mine = held.holder == self._daemon_id
        if wanted.deletes:
            return is_mine and held.epoch > epoch and wanted.is_of(held)
        if not wanted.is_of(held):
            raise RefusedWrite(name, AlreadyExists(f"the session {name!r} exists already"))
        if not is_mine and not (wanted.releases and held.released):
            raise RefusedWrite(name, held_by_another(name))
        return True


def _check_loss(wanted: Wanted, claim: Claim | None, place: Place | None) -> None:
    """Raise Lost if a session is not where it was safely."""
    safe = claim.place.position.revision if claim and claim.place else 0
    if wanted.deletes:
        return
    if place is None:
        raise Lost(wanted.session_id, safe, None)
    if place.position.revision < safe:
        raise Lost(wanted.session_id, safe, place.position.revision)
