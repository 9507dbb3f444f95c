"""Sessions that go from one daemon to another: two daemons on one Redis, by turns the holder."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.bench.child import daemon, serving
from tests.bench.figures import names
from tests.bench.setting import Setting
from tests.bench.stored import Filler
from tests.bench.wakes import QUANTILES, TEXT_TOKENS, in_quantiles, wake
from tests.server.store.redis_server import HOW, RedisServer

from cellwire.model_file.cell import read_cell

FIGURES = (
    *names("durable.hand_over_ms", QUANTILES),
    *names("durable.hand_over_wake_ms", QUANTILES),
    *names("durable.stored_bytes.redis", TEXT_TOKENS),
)

_LONG_SHARE = 4  # of the sessions with the longest text: so many times fewer


def run(setting: Setting, size: str) -> dict[str, float]:
    """Measure with Redis, if there is one."""
    if not has_redis():
        setting.say(f"durable: no hand-over, which {HOW}")
        return {}
    model, repeats = setting.models.path(size), setting.effort.repeats
    setting.say(f"durable: hands {repeats} sessions over, and back")
    short, long = TEXT_TOKENS
    with redis_server() as redis:
        _, long_bytes = fill(redis, model, long, max(1, repeats // _LONG_SHARE))
        ids, short_bytes = fill(redis, model, short, 1 + repeats)
        command = daemon("--model", str(model), "--state", redis.url)
        with serving(command) as first, serving(command) as second:
            wake(second.address, ids[:1])  # what is made once
            woken = wake(first.address, ids[1:])
            there = wake(second.address, ids[1:])
            back = wake(first.address, ids[1:])
    handed_s = [*there.attached_s, *back.attached_s]
    return {
        **in_quantiles("durable.hand_over_ms", handed_s),
        **in_quantiles("durable.hand_over_wake_ms", woken.attached_s),
        f"durable.stored_bytes.redis.{short}": short_bytes,
        f"durable.stored_bytes.redis.{long}": long_bytes,
    }


def has_redis() -> bool:
    """Whether there is a Redis to measure with."""
    return shutil.which("redis-server") is not None


@contextmanager
def redis_server() -> Iterator[RedisServer]:
    """Run a Redis until the context is left; as is usual, it writes to disk every second."""
    with tempfile.TemporaryDirectory(prefix="cellwire-bench-") as folder:
        server = RedisServer(Path(folder), appendfsync="everysec").start()
        try:
            yield server
        finally:
            server.kill()


def fill(
    redis: RedisServer, model: Path, tokens: int, sessions: int
) -> tuple[Sequence[str], float]:
    """Put sessions into Redis; return their ids, and the memory that one takes there."""
    opened = redis.open()
    filler = Filler(read_cell(model), tokens)
    filler.fill(opened.store, 1)  # what is made once
    before = _used_bytes(redis)
    ids = filler.fill(opened.store, 1 + sessions).session_ids[1:]  # the first is that one
    used_bytes = _used_bytes(redis) - before
    assert opened.leases is not None
    opened.leases.resign()
    opened.store.close()
    return ids, used_bytes / sessions


def _used_bytes(redis: RedisServer) -> int:
    client = redis.client()
    try:
        return int(client.info("memory")["used_memory"])
    finally:
        client.close()
