"""A process that commits to a store until it is killed. It prints each commit that returned.

Commit n gives every session its change n; every tenth a state; every seventh begins a session.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.server.store.stored import HEADER, added, session_id_of, state

from cellwire.server.store.redis import open_redis
from cellwire.server.store.sqlite import SqliteStore
from cellwire.server.store.store import Store
from cellwire.server.store.writes import Create, PutState, Write

SESSIONS = 5
FIRST = [Create(session_id_of(number), HEADER) for number in range(SESSIONS)]


def commits(after: int) -> Iterator[tuple[int, list[Write]]]:
    """The commits that follow a number, without end."""
    number = after
    while True:
        number += 1
        writes: list[Write] = []
        for session in map(session_id_of, range(SESSIONS)):
            # Each adds three tokens to all but the last of the text before: it grows by two.
            offset = max(0, 2 * number - 3)
            writes.append(added(session, number, offset, [number, number, 7], done=number))
            if number % 10 == 0:
                writes.append(PutState(session, state(2 * number - 10)))
        yield number, writes


def opened(place: str) -> Store:
    """Open the store in a folder, or a server's; all that is there is claimed."""
    if "://" not in place:
        return SqliteStore(Path(place))
    # The last process was killed, and its lease runs out soon.
    shared = open_redis(place, lease_s=0.05)
    assert shared.leases is not None
    for head in shared.store.sessions():
        assert head.session_id is not None
        while shared.leases.claim(head.session_id) is not None:
            pass
    return shared.store


def main(place: str, after: int) -> None:
    store = opened(place)
    if not after:
        store.commit(FIRST)
    for number, writes in commits(after):
        store.commit(writes)
        print(number, flush=True)  # noqa: T201  # the test reads it


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
