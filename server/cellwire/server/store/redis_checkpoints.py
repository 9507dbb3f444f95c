"""The named checkpoints that sessions are to be restored to, as a Redis server returns them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cellwire.server.store.record import Damaged
from cellwire.server.store.redis_draft import Kept
from cellwire.server.store.redis_keys import (
    PLACE,
    Place,
    checkpoint_keys,
    text_field,
    unseal_place,
)
from cellwire.server.store.redis_link import Command, Read, RedisLink
from cellwire.server.store.redis_rows import read_chain, read_row
from cellwire.server.store.redis_wanted import Wanted
from cellwire.server.store.writes import RestoreCheckpoint


@dataclass(frozen=True, slots=True)
class FoundCheckpoint:
    """A checkpoint that is in the server, or of which parts are."""

    session_id: str
    name: str
    place: bytes
    items: Read
    row: Read

    def kept(self) -> Kept:
        """Return what a restore has to know of it; Damaged."""
        place = unseal_place(self.session_id, self.place)
        chain = read_chain(self.session_id, self.items(), place)
        start = place.row_start
        held = place.position.settled - start
        row = read_row(self.session_id, start, self.row(), held) if held else None
        return Kept(place, chain, row)


def find_checkpoints(link: RedisLink, wanted: Sequence[Wanted]) -> dict[str, list[FoundCheckpoint]]:
    """Return, by session, the checkpoints in the server that sessions are to be restored to."""
    names = [
        (it.session_id, write.restoration.name)
        for it in wanted
        if it.place is not None
        for write in it.writes
        if isinstance(write, RestoreCheckpoint)
    ]
    keys = [checkpoint_keys(*name) for name in names]
    places = list(map(_read_place, link.read_each([("HGET", key, PLACE) for key, _ in keys])))
    commands: list[Command] = []
    for (session_id, _), (key, items_key), place in zip(names, keys, places, strict=True):
        commands.append(("LRANGE", items_key, 0, -1))
        commands.append(("HGET", key, text_field(_row_start(session_id, place))))
    reads = link.read_each(commands)
    found: dict[str, list[FoundCheckpoint]] = {}
    for (session_id, name), place, items, row in zip(
        names, places, reads[::2], reads[1::2], strict=True
    ):
        if place is not None:
            checkpoint = FoundCheckpoint(session_id, name, place, items, row)
            found.setdefault(session_id, []).append(checkpoint)
    return found


def _read_place(read: Read) -> bytes | None:
    try:
        place: bytes | None = read()
    except Damaged:  # another kind of key: there is no checkpoint
        return None
    return place


def _row_start(session_id: str, place: bytes | None) -> int:
    """Return where the last text row begins; anywhere if nothing can say it."""
    try:
        there: Place = unseal_place(session_id, place)
    except Damaged:
        return 0
    return there.row_start
