"""Sessions in a store whose bytes are altered while no daemon runs."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.crash.drawing import session_id
from tests.crash.operations import Append, Generate, Operation, Rewind, Save, Score, request
from tests.crash.stream import Lost, Stream
from tests.crash.stub import Stub
from tests.crash.violation import check
from tests.server.tiny_cell import SYMBOLS

from cellwire.server.store.sqlite_file import FILE_NAME
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.operations_pb2 import (
    DURABILITY_SAFE_FIRST,
    ON_DISCONNECT_PAUSE,
    Scored,
)

_PROBE = Score("hello")  # its answer depends on every bit of the state
_LATER = 1_000  # the first id of the operations after an alteration

RECORDS = {
    "header": "SELECT key, header FROM session WHERE id = ?",
    "change": "SELECT session, record FROM change, session WHERE key = session AND id = ?",
    "state": "SELECT session, record FROM state, session WHERE key = session AND id = ?",
    "text": "SELECT session, record FROM text, session WHERE key = session AND id = ?",
}
"""What is stored of a session, by the table that holds it."""

_UPDATES = {
    "header": "UPDATE session SET header = ? WHERE header = ?",
    "change": "UPDATE change SET record = ? WHERE record = ?",
    "state": "UPDATE state SET record = ? WHERE record = ?",
    "text": "UPDATE text SET record = ? WHERE record = ?",
}


@dataclass(frozen=True, slots=True)
class Kept:
    """A session that was left in the store, and what it must be when it wakes."""

    session_id: str
    text: str
    scored: Scored


async def leave_session(stub: Stub, random: Random) -> Kept:
    """Make a session with all kinds of records, and leave it."""
    name = session_id(random)
    stream = Stream(stub)
    await stream.open(
        session_id=name,
        seed=random.getrandbits(50),
        durability=DURABILITY_SAFE_FIRST,
        on_disconnect=ON_DISCONNECT_PAUSE,
    )
    text = ""
    operations: list[Operation] = []
    for _ in range(4):
        operations.append(Append("".join(random.choices(SYMBOLS, k=100))))
        operations.append(Generate(random.randint(100, 400), 1.0, None))
        operations.append(Rewind(random.randint(1, 20)))
    for number, operation in enumerate([*operations, Save()], start=10):
        for response in await _ask(stream, number, operation):
            text += response.chunk.text
        text += operation.text if isinstance(operation, Append) else ""
        text = text[: -operation.tokens] if isinstance(operation, Rewind) else text
    scored = (await _ask(stream, _LATER - 1, _PROBE))[-1].scored
    stream.cancel()
    return Kept(name, text, scored)


async def wake(stub: Stub, kept: Kept) -> str:
    """Attach to a session that was left; return "whole", or the status that says it is not.

    Violation if the session is there, and another one than it was.
    """
    stream = Stream(stub)
    try:
        response = await stream.attach(session_id=kept.session_id, offset=0)
    except Lost as lost:
        return str(lost)
    text = response.attached.missed.text
    check(text == kept.text, f"session {kept.session_id} wakes with another text")
    scored = (await _ask(stream, _LATER, _PROBE))[-1].scored
    check(scored == kept.scored, f"session {kept.session_id} wakes with another state")
    stream.cancel()
    return "whole"


def alter_record(state: Path, name: str, table: str, random: Random) -> None:
    """Alter one byte of one record of a session."""
    with closing(sqlite3.connect(state / FILE_NAME)) as database, database:
        rows = database.execute(RECORDS[table], (name,)).fetchall()
        _, record = random.choice(rows)
        at = random.randrange(len(record))
        altered = bytearray(record)
        altered[at] ^= 1 << random.randrange(8)
        changed = database.execute(_UPDATES[table], (bytes(altered), record)).rowcount
        assert changed == 1


def alter_file(state: Path, random: Random, number: int) -> None:
    """Alter bytes anywhere in the database."""
    path = state / FILE_NAME
    data = bytearray(path.read_bytes())
    for _ in range(number):
        data[random.randrange(len(data))] ^= 1 << random.randrange(8)
    path.write_bytes(data)


async def _ask(stream: Stream, number: int, operation: Operation) -> list[StreamSessionResponse]:
    """Ask, and pass over what is told unasked."""
    responses = await stream.ask(request(number, operation, None))
    while responses[-1].operation_id != number:
        responses.append(await stream.receive())
    return responses
