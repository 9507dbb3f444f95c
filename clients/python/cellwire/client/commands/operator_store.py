"""A daemon's store, as the commands for whoever runs the daemon use it.

The client knows no store: the part that does registers itself as an entry point of the group
`cellwire.stores`, a function of what `cellwire serve --state` was given.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import entry_points
from typing import Protocol

from cellwire.client.commands.outcome import Failed, Misused

GROUP = "cellwire.stores"
_NAME = "sessions"
_PAGE = 100  # sessions that are read at once


class StoredFacts(Protocol):
    """What a store knows of a session. Of a damaged one, only its id and `damage`."""

    @property
    def session_id(self) -> str:
        """Its id."""

    @property
    def model(self) -> str:
        """The model's name when the session began; "" if that is not known."""

    @property
    def model_sha256(self) -> str:
        """The SHA-256 of the model's file."""

    @property
    def seed(self) -> int:
        """Its seed."""

    @property
    def revision(self) -> int:
        """The number of changes of its text."""

    @property
    def tokens(self) -> int:
        """The length of its text."""

    @property
    def durability(self) -> str:
        """What its answers wait for."""

    @property
    def created_s(self) -> float:
        """When it began, in seconds since 1970."""

    @property
    def expires_s(self) -> float | None:
        """When it expires, in seconds since 1970; None: it does not."""

    @property
    def damage(self) -> str:
        """Why it cannot be read; "" if it can."""


class OperatorStore(Protocol):
    """The sessions in a store. Every method may raise one of `errors`."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """Errors whose messages are for people."""

    def sessions(self, after: str, limit: int) -> Sequence[StoredFacts]:
        """Return the first sessions whose ids follow `after`, in the order of ids."""

    def session(self, session_id: str) -> StoredFacts:
        """Return what is known of a session."""

    def export(self, session_id: str) -> bytes:
        """Return a session as bytes."""

    def restore(self, data: bytes, session_id: str | None, durability: str) -> str:
        """Store a session from exported bytes, under an id or a new one; return its id."""

    def delete(self, session_id: str) -> None:
        """Delete a session."""


@contextmanager
def opened(state: str) -> Iterator[OperatorStore]:
    """Give the store of a state folder or URL; its errors become Failed."""
    store = _maker()(state)
    try:
        yield store
    except store.errors as error:
        raise Failed(str(error)) from error


def every_session(store: OperatorStore, after: str) -> Iterator[StoredFacts]:
    """Yield the sessions whose ids follow `after`; a page at a time is read."""
    while page := store.sessions(after, _PAGE):
        yield from page
        after = page[-1].session_id


def _maker() -> Callable[[str], OperatorStore]:
    need = (
        "--state needs the part that reads a daemon's store: pip install 'cellwire[server]', or "
        "'cellwire[cpu]', which is smaller and knows no GPU"
    )
    found = [point for point in entry_points(group=GROUP) if point.name == _NAME]
    if not found:
        raise Misused(need)
    try:
        maker: Callable[[str], OperatorStore] = found[0].load()
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "cellwire":
            raise
        raise Misused(need) from None
    return maker
