"""The process that a connection belongs to: a child that was forked later cannot use it."""

from __future__ import annotations

import os

from cellwire.client.errors import FailedPrecondition

_FORKED = (
    "this process was forked from one that had connected to a daemon, and the connection, its "
    "threads and its sessions stayed there; connect after the fork, or start processes with "
    'multiprocessing.get_context("spawn")'
)


class OwnProcess:
    """Remembers the process that it was made in."""

    __slots__ = ("_id",)

    def __init__(self) -> None:
        self._id = os.getpid()

    @property
    def left(self) -> bool:
        """Whether this is another process: one that was forked from it."""
        return os.getpid() != self._id

    def check(self) -> None:
        """Raise FailedPrecondition in a process that was forked from it."""
        if self.left:
            raise forked()


def forked() -> FailedPrecondition:
    """Return the error that names the fork."""
    return FailedPrecondition(_FORKED)
