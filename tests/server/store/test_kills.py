"""A process that commits is killed at any moment: what it was told to be safe is there."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

import pytest
from tests.server.store.committing import FIRST, commits, opened
from tests.server.store.redis_server import RedisServer
from tests.server.store.stored import content

from cellwire.server.store.memory import MemoryStore

KILLS = 6
REPOSITORY = Path(__file__).parents[3]


def expected(number: int) -> MemoryStore:
    """The store after a number of commits."""
    model = MemoryStore()
    model.commit(FIRST)
    for at, writes in commits(0):
        if at > number:
            return model
        model.commit(writes)
    raise AssertionError


def run_and_kill(place: str, after: int, random_moment: random.Random) -> int:
    """Let the process go on after a commit, kill it, and return the last commit it reported."""
    command = [sys.executable, "-m", "tests.server.store.committing", place, str(after)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY) as process:
        assert process.stdout is not None
        for _ in range(random_moment.randint(1, 30)):
            assert process.stdout.readline()
        # Anywhere in the commit that is under way.
        until = time.perf_counter() + random_moment.random() * 0.01
        while time.perf_counter() < until:
            pass
        process.kill()
        reported = process.stdout.read().split()
    return int(reported[-1]) if reported else 0


@pytest.fixture(params=["sqlite", "redis"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return str(tmp_path)
    server: RedisServer = request.getfixturevalue("redis_server")
    return server.url


@pytest.mark.slow
def test_kills_lose_nothing_that_was_committed(place: str) -> None:
    moments = random.Random(15)
    committed = 0
    for _ in range(KILLS):
        reported = run_and_kill(place, committed, moments)
        with closing(opened(place)) as store:
            found = content(store)
            revisions = {store.head(name).revision for name in found}
            assert len(revisions) == 1, "a commit is there in part"
            committed = revisions.pop()
            assert reported <= committed <= reported + 1 or not reported
            assert found == content(expected(committed))
    assert committed
