"""Those who wait until some writes of sessions are safe."""

from __future__ import annotations

from concurrent.futures import Future

from cellwire.server.errors import CellwireError


class Flushes:
    """Futures, each of one session or of all. Not thread-safe, except to wait for them."""

    def __init__(self) -> None:
        self._futures: list[tuple[str | None, Future[None]]] = []

    def __len__(self) -> int:
        return len(self._futures)

    def add(self, session_id: str | None) -> Future[None]:
        """Return a new future, for a session, or for all with None."""
        future = new_future()
        self._futures.append((session_id, future))
        return future

    def take(self) -> Flushes:
        """Return all of them, and keep none."""
        taken = Flushes()
        taken._futures, self._futures = self._futures, []
        return taken

    def take_of(self, session_id: str) -> Flushes:
        """Return those of one session, and keep the others."""
        taken = Flushes()
        taken._futures = [entry for entry in self._futures if entry[0] == session_id]
        self._futures = [entry for entry in self._futures if entry[0] != session_id]
        return taken

    def succeed(self) -> None:
        """Let them all return."""
        for _, future in self._futures:
            future.set_result(None)

    def fail(self, error: CellwireError) -> None:
        """Let them all raise an error."""
        for _, future in self._futures:
            future.set_exception(error)


def new_future() -> Future[None]:
    """Return a future that nobody can cancel any more."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future
