"""Sessions to store, and stores compared."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from pathlib import Path

from cellwire.model_file.text_end import TextEnd
from cellwire.server.errors import DamagedRecord
from cellwire.server.state.change import Change, DoneKind, DoneOperation, StateRecord
from cellwire.server.state.stored_session import Header, StoredSession
from cellwire.server.store.sqlite import SqliteStore
from cellwire.server.store.sqlite_file import FILE_NAME
from cellwire.server.store.store import Store
from cellwire.server.store.writes import AddChange, Create, PutState, Write

ONE = "1" * 32
TWO = "2" * 32
EVERYTHING = 2**40  # tokens
HEADER = Header("ab" * 32, seed=7, rewind_window=64, settings={"idle_timeout_s": 600.0})


def change(
    revision: int, offset: int, tokens: Iterable[int] = (), *, done: int | None = None
) -> Change:
    """A change; `done` is the id of the operation that it completes."""
    length = offset + len(list(tokens))
    operations = () if done is None else (DoneOperation(done, DoneKind.APPENDED, length, -1.5),)
    return Change(
        revision=revision,
        offset=offset,
        tokens=array("I", tokens),
        end=TextEnd(f"end {revision}", tuple(array("I", tokens)[-2:])),
        rewind_floor=max(0, length - 64),
        done=operations,
    )


def added(
    session_id: str,
    revision: int,
    offset: int,
    tokens: Iterable[int] = (),
    *,
    done: int | None = None,
) -> AddChange:
    return AddChange(session_id, change(revision, offset, tokens, done=done))


def state(tokens_read: int) -> StateRecord:
    return StateRecord(tokens_read, (tokens_read.to_bytes(8, "little") * 64, b"\x01" * 64))


def session(session_id: str, tokens: int = 100, tokens_read: int = 40) -> list[Write]:
    """The writes of a session with a text and a state."""
    return [
        Create(session_id, HEADER),
        added(session_id, 1, 0, range(tokens), done=1),
        PutState(session_id, state(tokens_read)),
    ]


def session_id_of(number: int) -> str:
    return f"{number:032x}"


def content(store: Store) -> dict[str, StoredSession | str]:
    """All that is in a store; "damaged" for a session that cannot be read.

    A session's named checkpoints follow it, as "id/name".
    """
    found: dict[str, StoredSession | str] = {}
    while heads := store.sessions(after=max(found, default=""), limit=50):
        for head in heads:
            try:
                loaded = store.load(head.session_id, EVERYTHING)
                assert loaded.head == head
                assert store.text(head.session_id, 0, EVERYTHING) == loaded.tokens
                found[head.session_id] = loaded
                for name, offset, end in loaded.checkpoints:
                    kept = store.load_checkpoint(head.session_id, name, EVERYTHING)
                    assert (kept.head.length, kept.end) == (offset, end)
                    found[f"{head.session_id}/{name}"] = kept
            except DamagedRecord:
                found[head.session_id] = "damaged"
    return found


def database(folder: Path) -> Path:
    return folder / FILE_NAME


def reopened(store: SqliteStore, folder: Path) -> SqliteStore:
    store.close()
    return SqliteStore(folder)
