"""Whether a Redis server keeps what it is given: what it says of itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from cellwire.server.errors import CannotOpenStore, StoreFailed
from cellwire.server.store.redis_keys import FORMAT, FORMAT_KEY
from cellwire.server.store.redis_link import RedisLink

OLDEST = (6, 2)
"""Of Redis. Valkey says that it is Redis 7.2."""

_RECENT = "the last seconds are given to it again, the rest is not"

# With everysec, what was answered waits in the process while its disk is slow.
_LOST = {
    "everysec": "a loss of power there, and now and then the death of its process, loses what was "
    "safe for up to two seconds",
    "no": "a loss of power there loses what was safe for up to half a minute",
}


class ServerChecks:
    """Asks a server what it is. It may be another one after a failure."""

    def __init__(self, link: RedisLink, replicas: int = 0) -> None:
        self._link = link
        self._replicas = replicas

    def run_id(self) -> str:
        """Return what names the server's process; "" if it does not say."""
        return str(self._info("server").get("run_id", ""))

    def data_id(self) -> str:
        """Return what names the server's data: another name, and some of it may be lost.

        It changes when the server restarts, and when it follows another one or no longer does.
        """
        return str(self._info("replication").get("master_replid", ""))

    def check(self) -> list[str]:
        """Return what to warn of; CannotOpenStore if it cannot be used, StoreFailed."""
        info = self._info("everything")
        refusal = _why_not(info)
        if refusal is not None:
            found, advice = refusal
            raise CannotOpenStore(f"the Redis server {self._link.name} {found}; {advice}")
        self._check_format()
        return [f"the Redis server {self._link.name} {text}" for text in self._warnings(info)]

    def _info(self, section: str) -> dict[str, Any]:
        found: dict[str, Any] = self._link.run(("INFO", section))[0]
        return found

    def _check_format(self) -> None:
        """Note the format of what is stored, or compare it."""
        self._link.write(("SET", FORMAT_KEY, FORMAT, "NX"))
        (found,) = self._link.run(("GET", FORMAT_KEY))
        if found != str(FORMAT).encode():
            raise CannotOpenStore(
                f"the Redis server {self._link.name} has sessions of format "
                f"{found.decode(errors='replace')}, and this daemon reads format {FORMAT}; run the "
                "version of Cellwire that wrote them, or give --state another database"
            )

    def _warnings(self, info: Mapping[str, Any]) -> list[str]:
        warnings = []
        if not info.get("aof_enabled"):
            warnings.append(
                "writes no append-only file: its restart loses what is not in its last snapshot "
                f"({_RECENT}); set appendonly yes and appendfsync always"
            )
        else:
            warnings += self._fsync_warning()
        connected = int(info.get("connected_slaves", 0))
        if connected < self._replicas:
            warnings.append(
                f"has {connected} replicas, and --state-replicas asks for {self._replicas}: "
                "nothing is safe until there are as many"
            )
        return warnings

    def _fsync_warning(self) -> list[str]:
        policy = self._setting("appendfsync")
        if policy is None:
            return ["does not say its appendfsync: only with always is nothing lost with the power"]
        if policy in _LOST:
            lost = _LOST[policy]
            return [f"has appendfsync {policy}: {lost} ({_RECENT}); set appendfsync always"]
        if self._setting("no-appendfsync-on-rewrite") == "yes":
            text = (
                "has no-appendfsync-on-rewrite yes: a loss of power while it rewrites its file "
                f"loses what was safe for up to half a minute ({_RECENT}); set it to no"
            )
            return [text]
        return []

    def _setting(self, name: str) -> str | None:
        """Return a setting of the server; None if the user may not read it."""
        try:
            found: list[bytes] = self._link.run(("CONFIG", "GET", name))[0]
        except StoreFailed:
            return None
        return found[1].decode(errors="replace") if len(found) > 1 else None


def _why_not(info: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return why a server cannot be used, and what to do; None if it can."""
    version = str(info.get("redis_version", "0"))
    mode = info.get("redis_mode", "standalone")
    policy = info.get("maxmemory_policy", "noeviction")
    if mode != "standalone":
        return f"is a {mode}", "give --state the address of a single server, the primary"
    if _numbers(version) < OLDEST:
        oldest = ".".join(map(str, OLDEST))
        return f"has version {version}", f"use Redis {oldest} or later, or Valkey"
    if info.get("role") == "slave":
        return "is a replica, which cannot be written", "give --state the primary's address"
    if info.get("maxmemory") and policy != "noeviction":
        return (
            f"may evict sessions: maxmemory-policy is {policy}",
            "set maxmemory-policy noeviction",
        )
    return None


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2] if part.isdigit())
