"""The writes of one session, as commands to a Redis server."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from cellwire.server.state.change import Change, Restoration, StateRecord, after_state, remembered
from cellwire.server.state.named_checkpoint import NamedCheckpoint
from cellwire.server.state.stored_session import Header
from cellwire.server.store.checks import (
    Position,
    is_checkpoint_due,
    is_new_change,
    is_new_state,
    no_checkpoint,
    not_stored,
)
from cellwire.server.store.payload import (
    ChangeRow,
    encode_change,
    encode_checkpoint,
    encode_header,
    encode_state,
    folded,
)
from cellwire.server.store.record import Kind, seal
from cellwire.server.store.redis_deletions import DELETION_S, deletion_key
from cellwire.server.store.redis_keys import (
    EPOCH,
    EXPIRIES,
    EXPIRY,
    HEADER,
    HOLDER,
    MAX_CHAIN,
    PLACE,
    RELEASED,
    RESTORED,
    SESSIONS,
    STATE,
    TEXT_TOKENS,
    Place,
    checkpoint_keys,
    hash_key,
    list_key,
    names_key,
    seal_change,
    seal_expiry,
    text_field,
)
from cellwire.server.store.redis_rows import read_chain, read_row
from cellwire.server.store.store import RefusedWrite
from cellwire.server.store.tokens import pack_tokens
from cellwire.server.store.writes import (
    AddChange,
    CheckpointWrite,
    Create,
    Delete,
    DiscardCheckpoint,
    KeepUntil,
    PutCheckpoint,
    PutState,
    Release,
    RestoreCheckpoint,
    Write,
)

_PAIRS = 1_000  # of fields and values in one command: a script's stack has no room for many more

_NEEDING_TAIL = PutState | PutCheckpoint | RestoreCheckpoint

GroupKind = Literal["create", "write", "delete"]


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a session, which new states, long chains and checkpoints need."""

    items: Sequence[bytes] = ()  # of the list of changes
    row: bytes | None = None  # the record of the text row that is not full


@dataclass(frozen=True, slots=True)
class Kept:
    """A named checkpoint, as far as a restore has to know it."""

    place: Place
    chain: Sequence[ChangeRow]
    row: array[int] | None  # the last text row, if it is not full


@dataclass(frozen=True, slots=True)
class Group:
    """What a session's writes are in the server. They hold if it is where it was when read."""

    session_id: str
    kind: GroupKind
    before: Place | None
    after: Place | None
    releases: bool
    commands: Sequence[Sequence[bytes]]

    @property
    def creates(self) -> bool:
        """Whether there is a new session afterwards."""
        return self.kind != "write" and self.after is not None

    def arguments(self, epoch: int, *, again: bool = False) -> list[bytes | str | int]:
        """Return the group as the script takes it; `again`: a new session had this epoch before."""
        place = self.before.seal(self.session_id) if self.before else b""
        chain = self.before.chain if self.before else 0
        creates = ("again" if again else "new") if self.creates else ""
        commands = [*self.commands]
        if self.after is None and epoch:
            key = deletion_key(self.session_id).encode()
            commands.append((b"SET", key, b"%d" % epoch, b"EX", b"%d" % DELETION_S))
        parts: list[bytes | str | int] = [self.kind, epoch, place, chain, creates]
        parts += [int(self.releases), len(commands)]
        for command in commands:
            parts += [len(command), *command]
        return parts


def needs_tail(writes: Sequence[Write], place: Place) -> bool:
    """Whether the writes may need the end of a session that is there."""
    added = sum(isinstance(write, AddChange) for write in writes)
    return place.chain + added > MAX_CHAIN or any(isinstance(w, _NEEDING_TAIL) for w in writes)


class Draft:
    """Turns writes into commands, one after another. RefusedWrite if one does not fit; Damaged."""

    def __init__(
        self,
        session_id: str,
        place: Place | None,
        tail: Tail | None = None,
        kept: Mapping[str, Kept] | None = None,
    ) -> None:
        """`place` is None if the session is not there; without a tail, none may be needed.

        `kept` are the checkpoints in the server, as far as some are to be restored.
        """
        self._id = session_id
        self._hash, self._list = hash_key(session_id), list_key(session_id)
        self._kind: GroupKind = "write" if place else "create"
        self._before = self._place = place
        self._tail = tail
        self._chain: list[ChangeRow] | None = None  # all of it, once it was needed
        self._row: array[int] | None = None  # the last text row, if it is not full
        self._added: list[ChangeRow] = []  # to the list
        self._replaces = False  # what is in the list
        self._kept = dict(kept or {})  # those that were discarded excluded
        self._releases = False
        self._commands: list[Sequence[bytes]] = []  # before what follows
        self._index: list[Sequence[bytes]] = []
        self._fields: dict[str, bytes] = {}

    def carry_out(self, write: Write) -> None:
        """Carry out the next write."""
        match write:
            case Create(header=header):
                self._create(header)
            case Delete():
                self._delete()
            case _ if self._place is None:
                raise RefusedWrite(self._id, not_stored(self._id))
            case AddChange(change=change):
                self._add(change, self._place)
            case PutState(state=state):
                self._put(state, self._place)
            case KeepUntil(expires_s=expires_s):
                self._keep(expires_s)
            case Release():
                self._releases = True
            case _:
                self._carry_out_checkpoint(write, self._place)

    def group(self) -> Group:
        """Return all of it."""
        self._flush()
        commands = self._commands
        return Group(self._id, self._kind, self._before, self._place, self._releases, commands)

    def _flush(self) -> None:
        """Let what follows be carried out behind what there is."""
        commands = self._commands
        commands += self._index
        if self._place not in {self._before, None}:
            assert self._place is not None
            self._fields[PLACE] = self._place.seal(self._id)
        pairs = [part for name, value in self._fields.items() for part in (name.encode(), value)]
        commands += [
            (b"HSET", self._hash.encode(), *pairs[at : at + 2 * _PAIRS])
            for at in range(0, len(pairs), 2 * _PAIRS)
        ]
        if self._replaces:
            commands.append((b"DEL", self._list.encode()))
        if self._added:
            items = [_item(self._id, row) for row in self._added]
            commands.append((b"RPUSH", self._list.encode(), *items))
        self._index, self._fields, self._added, self._replaces = [], {}, [], False

    def _create(self, header: Header) -> None:
        if self._place is not None:
            return  # the same, as whoever read it has seen
        start = header.text_start
        self._place = Place(start, Position(0, start, start), 0)
        self._chain, self._row = [], None
        self._fields[HEADER] = seal(Kind.HEADER, self._id, 0, encode_header(header))
        self._index.append((b"ZADD", SESSIONS.encode(), b"0", self._id.encode()))

    def _delete(self) -> None:
        """Delete the session; it is the first of a session's writes."""
        self._kind = "delete"
        self._place = None
        name = self._id.encode()
        self._index += [
            (b"DEL", self._hash.encode(), self._list.encode()),
            (b"ZREM", SESSIONS.encode(), name),
            (b"ZREM", EXPIRIES.encode(), name),
        ]

    def _add(self, change: Change, place: Place) -> None:
        position = place.position
        if not is_new_change(self._id, change, position):
            return
        row = ChangeRow(change, position.revision if place.chain else 0)
        self._place = Place(place.text_start, position.after(change), place.chain + 1)
        if place.chain < MAX_CHAIN:
            if self._chain is not None:
                self._chain.append(row)
            self._added.append(row)
        else:
            self._replace(folded([*self._read_chain(place), row]))

    def _put(self, state: StateRecord, place: Place) -> None:
        position = place.position
        if not is_new_state(self._id, state, position):
            return
        change = folded(self._read_chain(place))
        self._add_text(place, change.tokens[: state.tokens_read - change.offset])
        self._fields[STATE] = seal(Kind.STATE, self._id, 0, encode_state(state))
        settled = Position(position.revision, position.length, state.tokens_read)
        self._place = Place(place.text_start, settled, 1)
        self._replace(after_state(change, state.tokens_read))

    def _keep(self, expires_s: float | None) -> None:
        name = self._id.encode()
        if expires_s is None:
            self._fields.pop(EXPIRY, None)
            self._index += [
                (b"ZREM", EXPIRIES.encode(), name),
                (b"HDEL", self._hash.encode(), EXPIRY.encode()),
            ]
        else:
            self._fields[EXPIRY] = seal_expiry(self._id, expires_s)
            score = repr(float(expires_s)).encode()
            self._index.append((b"ZADD", EXPIRIES.encode(), score, name))

    def _carry_out_checkpoint(self, write: CheckpointWrite, place: Place) -> None:
        if not is_checkpoint_due(write, place.position):
            return
        match write:
            case PutCheckpoint(name=name):
                self._put_checkpoint(name, place)
            case DiscardCheckpoint(name=name):
                self._kept.pop(name, None)
                names, *keys = (names_key(self._id), *checkpoint_keys(self._id, name))
                self._flush()
                self._commands.append((b"HDEL", names.encode(), name.encode()))
                self._commands.append((b"DEL", *(key.encode() for key in keys)))
            case RestoreCheckpoint(restoration=restoration):
                self._restore(restoration, place)

    def _put_checkpoint(self, name: str, place: Place) -> None:
        """Let the server copy the session as it is then."""
        chain = self._read_chain(place)
        self._kept[name] = Kept(place, chain[:], self._read_row(place))
        checkpoint = NamedCheckpoint(name, place.position.length, chain[-1].change.end)
        record = seal(Kind.CHECKPOINT, self._id, 0, encode_checkpoint(checkpoint))
        copy, copied_list = (key.encode() for key in checkpoint_keys(self._id, name))
        not_copied = (field.encode() for field in (HOLDER, EPOCH, RELEASED, EXPIRY))
        self._flush()
        self._commands += [
            (b"COPY", self._hash.encode(), copy, b"REPLACE"),
            (b"HDEL", copy, *not_copied),
            (b"COPY", self._list.encode(), copied_list, b"REPLACE"),
            (b"HSET", names_key(self._id).encode(), name.encode(), record),
        ]

    def _restore(self, restoration: Restoration, place: Place) -> None:
        kept = self._kept.get(restoration.name)
        if kept is None:
            raise RefusedWrite(self._id, no_checkpoint(self._id, restoration.name))
        done = (*folded(self._read_chain(place)).done, *restoration.done)
        change = replace(folded(kept.chain), revision=restoration.revision, done=remembered(done))
        key, _ = checkpoint_keys(self._id, restoration.name)
        self._flush()
        self._commands.append((b"restore", key.encode()))
        at = replace(kept.place.position, revision=restoration.revision)
        self._place, self._row = Place(kept.place.text_start, at, 1), kept.row
        self._replace(change)
        self._fields[RESTORED] = str(at.revision).encode()

    def _read_chain(self, place: Place) -> list[ChangeRow]:
        """Return the changes since the state, those that are added included."""
        if self._chain is None:
            assert self._tail is not None
            assert self._before is not None
            self._chain = [*read_chain(self._id, self._tail.items, self._before), *self._added]
        assert len(self._chain) == place.chain
        return self._chain

    def _replace(self, change: Change) -> None:
        """Put one change in the place of the chain."""
        row = ChangeRow(change)
        assert self._place is not None
        self._place = Place(self._place.text_start, self._place.position, 1)
        self._chain, self._added, self._replaces = [row], [row], True

    def _add_text(self, place: Place, tokens: array[int]) -> None:
        """Add immutable text at its end."""
        start = place.row_start
        tokens = (self._read_row(place) or array("I")) + tokens
        for at in range(0, len(tokens), TEXT_TOKENS):
            packed = pack_tokens(tokens[at : at + TEXT_TOKENS])
            record = seal(Kind.TEXT, self._id, start + at, packed)
            self._fields[text_field(start + at)] = record
        left = len(tokens) % TEXT_TOKENS
        self._row = tokens[len(tokens) - left :] if left else None

    def _read_row(self, place: Place) -> array[int] | None:
        """Return the last text row, if it is not full."""
        held = place.position.settled - place.row_start
        if held and self._row is None:
            record = self._tail.row if self._tail else None
            self._row = read_row(self._id, place.row_start, record, held)
        return self._row


def _item(session_id: str, row: ChangeRow) -> bytes:
    payload = encode_change(row)
    return seal_change(session_id, row.change.revision, payload)
