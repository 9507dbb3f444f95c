"""The script call that commits sessions, and the reading before it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cellwire.server.store.checks import damaged
from cellwire.server.store.record import Damaged
from cellwire.server.store.redis_checkpoints import FoundCheckpoint, find_checkpoints
from cellwire.server.store.redis_deletions import deletion_key
from cellwire.server.store.redis_draft import Draft, Group, Tail, needs_tail
from cellwire.server.store.redis_keys import (
    EXPIRIES,
    SESSIONS,
    hash_key,
    list_key,
    text_field,
)
from cellwire.server.store.redis_link import Command, RedisLink
from cellwire.server.store.redis_scripts import COMMIT
from cellwire.server.store.redis_wanted import Wanted
from cellwire.server.store.store import RefusedWrite

_REFUSED = -1


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why the server has carried out nothing."""

    session_id: str
    why: str  # a word of the script


@dataclass(frozen=True, slots=True)
class Sent:
    """What the server has carried out of a session."""

    wanted: Wanted
    group: Group
    epoch: int  # that the session has now


class Sender:
    """Sends the writes of sessions to the server, all in one script."""

    def __init__(self, link: RedisLink, daemon_id: str) -> None:
        self._link = link
        self._daemon_id = daemon_id

    def send(
        self, placed: Sequence[Wanted], *, again: bool = False, beyond: bool = False
    ) -> list[Sent] | Refusal:
        """Carry out writes of sessions that were read: all, or none; RefusedWrite, StoreFailed.

        `again`: new sessions get the epoch that they had before. `beyond`: even if the server's
        maxmemory is reached.
        """
        if not placed:
            return []
        tails = self._tails(placed)
        kept = find_checkpoints(self._link, placed)
        groups = [
            _group(it, tails.get(it.session_id), kept.get(it.session_id, ())) for it in placed
        ]
        keys = [SESSIONS, EXPIRIES]
        for group in groups:
            keys += [hash_key(group.session_id), list_key(group.session_id)]
        keys += [deletion_key(group.session_id) for group in groups]
        arguments: list[bytes | str | int] = []
        for it, group in zip(placed, groups, strict=True):
            arguments += group.arguments(it.epoch, again=again)
        (answer,) = self._link.write(
            ("EVAL", COMMIT, len(keys), *keys, self._daemon_id, int(beyond), *arguments)
        )
        if answer[0] == _REFUSED:
            _, number, why = answer
            return Refusal(groups[number - 1].session_id, why.decode())
        return [Sent(*each) for each in zip(placed, groups, answer, strict=True)]

    def _tails(self, placed: Sequence[Wanted]) -> dict[str, Callable[[], Tail]]:
        """Return what returns the end of each session that needs it, or raises Damaged."""
        needed = {
            it.session_id: it.place
            for it in placed
            if it.place is not None and needs_tail(it.writes, it.place)
        }
        commands: list[Command] = []
        for name, place in needed.items():
            commands.append(("LRANGE", list_key(name), 0, -1))
            commands.append(("HGET", hash_key(name), text_field(place.row_start)))
        reads = self._link.read_each(commands)
        return {
            name: lambda items=items, row=row: Tail(items(), row())  # type: ignore[misc]
            for name, items, row in zip(needed, reads[::2], reads[1::2], strict=True)
        }


def _group(
    wanted: Wanted, tail: Callable[[], Tail] | None, checkpoints: Sequence[FoundCheckpoint]
) -> Group:
    """Return a session's writes as commands; RefusedWrite."""
    name = wanted.session_id
    try:
        kept = {found.name: found.kept() for found in checkpoints}
        draft = Draft(name, wanted.place, tail() if tail else None, kept)
        for write in wanted.writes:
            draft.carry_out(write)
    except Damaged as error:
        raise RefusedWrite(name, damaged(name, error)) from error
    return draft.group()
