"""Which store a configuration names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from cellwire.server.errors import CannotOpenStore
from cellwire.server.host.config import Config
from cellwire.server.store.leases import OpenedStore
from cellwire.server.store.sqlite import SqliteStore
from cellwire.server.store.sqlite_file import Synchronous


def open_store(config: Config) -> OpenedStore | None:
    """Open the store of a configuration, if it has one; CannotOpenStore."""
    if config.state is None:
        return None
    if isinstance(config.state, str):
        return _open_redis(config.state, config.state_replicas, config.lease_s)
    sync: Synchronous = "FULL" if config.state_sync == "full" else "NORMAL"
    return OpenedStore(SqliteStore(config.state, sync, on_network=config.state_on_network))


def _open_redis(url: str, replicas: int, lease_s: float) -> OpenedStore:
    with with_redis():
        from cellwire.server.store.redis import open_redis
    return open_redis(url, replicas=replicas, lease_s=lease_s)


@contextmanager
def with_redis() -> Iterator[None]:
    """Import what needs Python's package for Redis; CannotOpenStore if it is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "redis":
            raise
        raise CannotOpenStore(
            "--state is a Redis server, and Python's package for it is not installed; install it "
            "with pip install 'cellwire[redis]'"
        ) from error
