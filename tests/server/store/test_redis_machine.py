"""Random writes in a Redis server, with faults, deaths and losses, against the store in memory."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, rule
from tests.server.store.redis_server import RedisServer
from tests.server.store.stored import content
from tests.server.store.test_store_machine import Crashes

from cellwire.server.errors import StoreFailed
from cellwire.server.store import redis_draft, redis_keys, redis_reader
from cellwire.server.store.leases import Leases
from cellwire.server.store.redis import RedisStore
from cellwire.server.store.redis_link import Command, RedisLink
from cellwire.server.store.store import Store

_SERVER: list[RedisServer] = []
Dump = dict[Any, Any]


@pytest.fixture(scope="module", autouse=True)
def server(running_redis: RedisServer) -> Iterator[None]:
    _SERVER.append(running_redis)
    yield
    _SERVER.clear()


class Losses(Crashes):
    """A store in a server that may also lose what it was given last."""

    leases: Leases

    def prepare(self) -> None:
        for module in (redis_keys, redis_reader, redis_draft):
            self.patches.setattr(module, "TEXT_TOKENS", 8)
        self.patches.setattr(redis_draft, "MAX_CHAIN", 3)
        self.install_faults()
        self.patches.setattr(logging.getLogger("cellwire.server.store.redis"), "disabled", True)
        self.client = _SERVER[0].client()
        self.client.flushall()
        self.restarts = 0
        self.dumps: list[Dump] = []

    def clean_up(self) -> None:
        self.client.close()

    def install_faults(self) -> None:
        run, faults = RedisLink.run, self.faults

        def faulty(link: RedisLink, *commands: Command) -> list[Any]:
            if faults.statements_left is None or not commands:
                return run(link, *commands)
            faults.statements_left -= 1
            if faults.statements_left == 0 and faults.after:
                run(link, *commands)
            if faults.statements_left <= 0:
                raise StoreFailed
            return run(link, *commands)

        self.patches.setattr(RedisLink, "run", faulty)

    def opened(self) -> Store:
        """Open the store as a new daemon, and claim all there is."""
        opened = _SERVER[0].open()
        assert opened.leases is not None
        self.leases = opened.leases
        self.claim_all(opened.store)
        return opened.store

    def claim_all(self, store: Store) -> None:
        for head in store.sessions():
            assert head.session_id is not None
            assert self.leases.claim(head.session_id) is None

    @rule()
    def die(self) -> None:
        self.leases.resign()
        self.store.close()
        self.dumps.clear()  # who has died gives nothing again
        self.store = self.opened()

    @rule()
    def stop(self) -> None:
        self.die()

    @rule()
    def claim_again(self) -> None:
        self.claim_all(self.store)

    @rule()
    def dump(self) -> None:
        self.dumps.append({key: self.client.dump(key) for key in self.client.scan_iter()})

    @rule(noticed=st.booleans())
    def lose(self, *, noticed: bool) -> None:
        """Let the server be as it was at a dump; the store gives it the rest again."""
        if not self.dumps:
            return
        self.client.flushall()
        for key, value in self.dumps[-1].items():
            self.client.restore(key, 0, value)
        if noticed:
            assert isinstance(self.store, RedisStore)
            self.restarts += 1
            self.store.notice(f"restart {self.restarts}")
        else:
            # The first commit that finds a session behind gives all again.
            self.store._committer.repair()  # type: ignore[attr-defined]

    @invariant()
    def nothing_else_is_left(self) -> None:
        names = {name.partition("/")[0] for name in content(self.model)}
        keys = [str(key) for key in self.client.scan_iter("cellwire:{*")]
        assert {key.partition("{")[2].partition("}")[0] for key in keys} == names


TestLosses = Losses.TestCase
TestLosses.settings = settings(max_examples=15, stateful_step_count=20, deadline=None)
