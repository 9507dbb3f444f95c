"""A card that is not there: its memory, who may use it, and what is alive on it."""

from __future__ import annotations

import gc
import threading
from collections import Counter
from collections.abc import Container, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from weakref import WeakSet, finalize

from tests.server.card.memory import Allocator, Block, Memory

if TYPE_CHECKING:
    from tests.server.card.native_binding import NativeBinding
    from tests.server.card.native_session import NativeSession
    from tests.server.card.native_value import NativeValue

_TOTAL_BYTES = 2**28
_SHARED_BYTES = 1024  # of an initializer that is worth sharing


class CardFault(AssertionError):
    """The card was used as it must not be."""


class Card:
    """One card, and an account of all that is on it."""

    def __init__(self, lock: Any, total_bytes: int = _TOTAL_BYTES) -> None:  # noqa: ANN401  # an RLock, but its types lack what is needed
        """`lock` is an RLock that every use of the card must be under."""
        self._lock = lock
        self.memory = Memory(total_bytes)
        self.module = Allocator(self.memory, doubles=True)  # of onnxruntime's Python module
        self.values = WeakSet["NativeValue"]()
        self.bindings = WeakSet["NativeBinding"]()
        self.sessions = WeakSet["NativeSession"]()
        self.value: type[NativeValue]  # whose values are on this card
        self.faults: list[str] = []  # also those that were raised, and taken for a failed run
        self._capturing = False

    @property
    def _held(self) -> bool:
        return bool(self._lock._is_owned())  # the standard library's types do not have it

    def use(self, what: str) -> None:
        """Note a use of the card; CardFault if its thread does not hold the lock."""
        if not self._held:
            self.fault(f"{what}, and {threading.current_thread().name} does not hold the lock")

    def fault(self, what: str) -> None:
        """Note a fault, and raise it."""
        self.faults.append(what)
        raise CardFault(what)

    @contextmanager
    def capture(self) -> Iterator[None]:
        """Capture a graph: no session may end meanwhile.

        A real capture is one call outside Python, so Python collects no garbage in its thread.
        """
        gc.disable()
        self._capturing = True
        try:
            yield
        finally:
            self._capturing = False
            gc.enable()

    def open_session(self, session: NativeSession) -> None:
        """Note a session, which gives its memory back at its end."""
        self.sessions.add(session)
        finalize(session, self._end_session, session.allocator)

    def _end_session(self, allocator: Allocator) -> None:
        # Raised here, it would only be printed.
        if self._capturing:
            self.faults.append("a session ends while a graph is captured")
        elif not self._held:
            self.faults.append(
                f"a session ends, and {threading.current_thread().name} does not hold the lock"
            )
        allocator.end()

    def copies_of_weights(self, names: Container[str]) -> Counter[bytes]:
        """Count how often each weight of some size is in the card's memory."""
        blocks: dict[int, Block] = {
            block.address: block
            for session in self.sessions
            for name, block in session.weights.items()
            if name in names and block.array.nbytes >= _SHARED_BYTES
        }
        return Counter(block.array.tobytes() for block in blocks.values())

    @property
    def session_bytes(self) -> int:
        """The memory that all sessions have reserved."""
        return sum(session.allocator.reserved_bytes for session in self.sessions)

    @property
    def host_bytes(self) -> int:
        """The serialized programs, which onnxruntime's Python keeps."""
        return sum(session.serialized_bytes for session in self.sessions)

    @property
    def threads(self) -> int:
        """The threads of the host that all sessions compute with, beside their callers'."""
        return sum(session.threads - 1 for session in self.sessions)
