"""A session's calls meet the daemon that has it, and few move when daemons come or go."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

from tests.crash.drawing import session_id
from tests.deploy.calls import front
from tests.deploy.fleet import Fleet
from tests.deploy.proxy import Proxy, proxied

SESSIONS = [session_id(Random(n)) for n in range(90)]
LEAST_SHARE = 5  # of 90 sessions on three daemons; where they are depends on the daemons' ports


async def test_sessions_of_an_id_meet_the_same_daemon(
    proxy: Proxy, fleet: Fleet, tmp_path: Path
) -> None:
    with proxied(proxy, tmp_path, fleet.addresses) as address:
        async with front(address) as one, front(address) as other:
            names = await one.whereabouts(SESSIONS)
            shares = Counter(names.values())
            assert len(shares) == len(fleet.addresses)
            assert min(shares.values()) >= LEAST_SHARE
            for session in SESSIONS[:20]:
                await one.stream(session).begin()
                assert await other.has(session)
                assert await other.where(session) == names[session]
            strangers = {await one.where(None) for _ in range(20)}
            assert len(strangers) > 1, "calls without a session's id all go to one daemon"


async def test_few_sessions_move_when_a_daemon_leaves(
    proxy: Proxy, fleet: Fleet, tmp_path: Path
) -> None:
    one, two, three = fleet.addresses
    with proxied(proxy, tmp_path / "three", [one, two, three]) as address:
        async with front(address) as daemons:
            before = await daemons.whereabouts(SESSIONS)
    with proxied(proxy, tmp_path / "two", [one, "", three]) as address:
        async with front(address) as daemons:
            after = await daemons.whereabouts(SESSIONS)
    may_stay = [session for session in SESSIONS if before[session] != fleet.name(1)]
    moved = sum(before[session] != after[session] for session in may_stay)
    assert moved <= proxy.most_moved * len(may_stay)
    assert set(after.values()) == {fleet.name(0), fleet.name(2)}
