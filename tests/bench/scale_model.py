"""A model of very many daemons on Redis, its constants from the figures of `durable` and `scale`.

What it assumes is in Fleet; what it reckons is one Redis' work, as if one could do all of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Fleet:
    """What is assumed of the daemons, their sessions, and the machines of Redis."""

    nodes: int = 1_000  # one daemon each
    sessions: int = 100_000_000  # of a thousand characters, all in Redis
    active_share: float = 0.01  # of them, that generate at any time
    writes_per_s: float = 4.0  # of an active session: a busy engine's text leaves every 250 ms
    wakes_a_day: float = 1.0  # of each session
    moves_share: float = 0.1  # of the wakes, that find the session held by another daemon
    redis_bytes: float = 64e9  # memory for sessions of one Redis
    redis_cores: float = 0.5  # of its one thread, so that commits do not wait for each other
    redis_bytes_per_s: float = 1.25e9 / 2  # half of 10 Gbit/s; the append-only file has the same


@dataclass(frozen=True, slots=True)
class Use:
    """What a fleet takes of one resource."""

    name: str
    unit: str
    of_fleet: float
    of_one_redis: float  # what one Redis has

    @property
    def servers(self) -> float:
        """How many Redis servers that fills."""
        return self.of_fleet / self.of_one_redis


FIGURES = (
    "durable.stored_bytes.redis.1000",
    "scale.redis_us.lease",
    "scale.redis_us.write",
    "scale.redis_us.wake",
    "scale.redis_us.hand_over",
    "scale.redis_bytes_a_write",
)


def processor_shares(figures: Mapping[str, float], fleet: Fleet) -> dict[str, float]:
    """Return how many cores of Redis each kind of its work takes."""
    wakes_per_s = fleet.sessions * fleet.wakes_a_day / DAY_S
    moves_per_s = wakes_per_s * fleet.moves_share
    per_s = {
        "changes": (writes_per_s(fleet), "scale.redis_us.write"),
        "wakes": (wakes_per_s - moves_per_s, "scale.redis_us.wake"),
        "hand-overs": (moves_per_s, "scale.redis_us.hand_over"),
        "leases": (fleet.nodes, "scale.redis_us.lease"),
    }
    return {name: number * figures[cost] / 1e6 for name, (number, cost) in per_s.items()}


def writes_per_s(fleet: Fleet) -> float:
    """Return how many changes of sessions reach Redis a second."""
    return fleet.sessions * fleet.active_share * fleet.writes_per_s


def uses(figures: Mapping[str, float], fleet: Fleet) -> list[Use]:
    """Return what the fleet takes of each resource, what is short first."""
    in_bytes = writes_per_s(fleet) * figures["scale.redis_bytes_a_write"]
    stored_bytes = fleet.sessions * figures["durable.stored_bytes.redis.1000"]
    cores = sum(processor_shares(figures, fleet).values())
    found = (
        Use("memory", "GB", stored_bytes / 1e9, fleet.redis_bytes / 1e9),
        Use("processor", "cores", cores, fleet.redis_cores),
        Use("network, and disk", "MB/s", in_bytes / 1e6, fleet.redis_bytes_per_s / 1e6),
    )
    return sorted(found, key=lambda use: -use.servers)
