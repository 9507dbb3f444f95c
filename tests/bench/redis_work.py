"""What a Redis has done, by its own account."""

from __future__ import annotations

from dataclasses import dataclass

from tests.server.store.redis_server import RedisServer


@dataclass(frozen=True, slots=True)
class RedisWork:
    """Since its start, or between two moments."""

    cpu_s: float  # of its process
    session_writes: float  # changes of one session, joined, in one commit
    in_bytes: float  # that it has received

    def __sub__(self, earlier: RedisWork) -> RedisWork:
        return RedisWork(
            self.cpu_s - earlier.cpu_s,
            self.session_writes - earlier.session_writes,
            self.in_bytes - earlier.in_bytes,
        )


def work_of(redis: RedisServer) -> RedisWork:
    """Return what a Redis has done since its start."""
    client = redis.client()
    try:
        facts = client.info("everything")
    finally:
        client.close()
    return RedisWork(
        cpu_s=float(facts["used_cpu_user"]) + float(facts["used_cpu_sys"]),
        # The script of a commit appends to a session's list once.
        session_writes=float(facts.get("cmdstat_rpush", {}).get("calls", 0)),
        in_bytes=float(facts["total_net_input_bytes"]),
    )
