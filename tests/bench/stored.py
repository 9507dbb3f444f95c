"""Sessions put into a store by its own code, as daemons leave them: many, and quickly."""

from __future__ import annotations

import random
import time
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from cellwire.model_file.cell import Cell
from cellwire.model_file.text_end import SETTLED
from cellwire.server.batch.stepper import State
from cellwire.server.host.session_record import LEAVING_INTERVAL, STATE_INTERVAL
from cellwire.server.host.settings import Durability, OnDisconnect, Settings
from cellwire.server.state.change import Change, DoneKind, DoneOperation, StateRecord
from cellwire.server.state.stored_session import Header
from cellwire.server.store.store import Store
from cellwire.server.store.writes import AddChange, Create, KeepUntil, PutState, Write

WEEK_S = 7 * 24 * 3_600

_COMMIT_WRITES = 4_000  # in one transaction, about
_LETTERS, _FIRST_LETTER = 26, 10  # in the vocabulary of the benchmarks, and of the built-in model
_SEED = 20_261_125
_SETTINGS = Settings(
    on_disconnect=OnDisconnect.PAUSE, idle_timeout_s=WEEK_S, durability=Durability.SAFE_LATER
)
# The oldest state that is still needed has read so many tokens less than there are.
_LEAST_UNREAD = _SETTINGS.rewind_window + 16


@dataclass(frozen=True, slots=True)
class Filled:
    """What was put into a store."""

    session_ids: tuple[str, ...]  # random, as those of daemons
    took_s: float


class Filler:
    """Makes sessions of one model, each with a text of the same length."""

    def __init__(self, cell: Cell, text_tokens: int) -> None:
        self._header = Header(
            cell.sha256,
            seed=1,
            rewind_window=_SETTINGS.rewind_window,
            settings=_SETTINGS.stored() | {"durability": _SETTINGS.durability.value},
            created_s=time.time(),
        )
        self._state = _state_of(cell)
        letters = range(_FIRST_LETTER, _FIRST_LETTER + _LETTERS)
        self._text = array("I", letters) * (text_tokens // _LETTERS + 1)
        del self._text[text_tokens:]
        self._expires_s = time.time() + WEEK_S

    def fill(self, store: Store, sessions: int) -> Filled:
        """Put so many sessions into a store."""
        start = time.monotonic()
        draw = random.Random(_SEED + len(self._text))
        ids = tuple(f"{draw.getrandbits(128):032x}" for _ in range(sessions))
        waiting: list[Write] = []
        for number, session_id in enumerate(ids):
            waiting += self._writes(session_id, number)
            if len(waiting) >= _COMMIT_WRITES:
                store.commit(waiting)
                waiting = []
        store.commit(waiting)
        return Filled(ids, time.monotonic() - start)

    def _writes(self, session_id: str, number: int) -> Iterator[Write]:
        """Yield a session's writes: a state after each interval, and the last as it has left."""
        yield Create(session_id, self._header)
        text, offset, revision = self._text, 0, 0
        unread = _LEAST_UNREAD + number * 97 % LEAVING_INTERVAL
        first = (len(text) - unread) % STATE_INTERVAL
        if first + _LEAST_UNREAD < LEAVING_INTERVAL:  # none would have been stored yet
            first += STATE_INTERVAL
        for tokens_read in range(first, len(text) - unread + 1, STATE_INTERVAL):
            end = tokens_read + _LEAST_UNREAD
            revision += 1
            yield AddChange(session_id, self._change(revision, offset, end))
            yield PutState(session_id, StateRecord(tokens_read, self._state))
            offset = end
        yield AddChange(session_id, self._change(revision + 1, offset, len(text)))
        yield KeepUntil(session_id, self._expires_s)

    def _change(self, revision: int, offset: int, end: int) -> Change:
        floor = max(0, end - _SETTINGS.rewind_window)
        done = DoneOperation(revision, DoneKind.APPENDED, end, -1.5 * (end - offset))
        return Change(revision, offset, self._text[offset:end], SETTLED, floor, (done,))


def _state_of(cell: Cell) -> State:
    """Return a state; that of any text would do as well."""
    draw = np.random.default_rng(_SEED)
    sizes = [state.bytes // 4 for state in cell.states]
    return tuple(draw.uniform(-1, 1, size).astype("<f4").tobytes() for size in sizes)
