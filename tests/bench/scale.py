"""scale: one, two and three daemons on one Redis, behind HAProxy; model L, SAFE_LATER.

Each daemon has a thread for its steps, and its share of this machine's cores: cores of its own
where there are enough, all of them together with the others otherwise. So the sum is bounded by the
machine, and by what the load, HAProxy and Redis take of it. One load opens all sessions; HAProxy
hashes their ids.

scale.tokens_per_s.plain       one daemon with all cores, without a proxy and without a store
scale.tokens_per_s.<daemons>   of 64 sessions together
scale.ratio.<daemons>          the same / those of one daemon behind the proxy

What Redis does, by its processor time; what it does for idle daemons is taken off, but for `lease`:

scale.redis_us.lease           a second of the lease of an idle daemon
scale.redis_us.write           a change of a session under the load, its share of states included
scale.redis_us.wake            a session wakes, writes a character, and is let go of
scale.redis_us.hand_over       a session is handed over, and the same
scale.redis_bytes_a_write      that Redis receives for a change under the load
scale.writes_per_s             changes of a session a second under the load of three daemons
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.bench.child import daemon, serving
from tests.bench.durability import SAFE_LATER
from tests.bench.figures import names
from tests.bench.hand_overs import fill, has_redis, redis_server
from tests.bench.load import measured
from tests.bench.machine import core_numbers
from tests.bench.pace import figure, ratios
from tests.bench.redis_work import RedisWork, work_of
from tests.bench.setting import Setting
from tests.bench.wakes import wake
from tests.deploy.proxy import PROXIES, proxied
from tests.server.store.redis_server import HOW, RedisServer

SIZE = "L"
SESSIONS = 64
DAEMONS = (1, 2, 3)

FIGURES = (
    "scale.tokens_per_s.plain",
    *names("scale.tokens_per_s", DAEMONS),
    *names("scale.ratio", DAEMONS[1:]),
    *names("scale.redis_us", ("lease", "write", "wake", "hand_over")),
    "scale.redis_bytes_a_write",
    "scale.writes_per_s",
)

_HAPROXY = PROXIES[0]
_IDLE_S = 6.0  # some renewals of a lease
_SETTLE_S = 0.5
_TEXT_TOKENS = 1_000


def run(setting: Setting, size: str = SIZE, sessions: int = SESSIONS) -> dict[str, float]:
    """Measure with Redis and HAProxy, if there are both."""
    if not has_redis():
        setting.say(f"scale: nothing, which {HOW}")
        return {}
    if _HAPROXY.program is None:
        setting.say(f"scale: nothing, which needs HAProxy: {_HAPROXY.install}")
        return {}
    model = setting.models.path(size)
    with redis_server() as redis:
        figures = _under_load(setting, redis, model, sessions)
        return figures | _one_by_one(setting, redis, model)


def _under_load(
    setting: Setting, redis: RedisServer, model: Path, sessions: int
) -> dict[str, float]:
    """Measure each number of daemons, in turns."""
    effort = setting.effort
    rates: dict[str, list[float]] = {name: [] for name in ("plain", *map(str, DAEMONS))}
    works: list[RedisWork] = []
    for number in range(effort.load_rounds):
        setting.say(f"scale: round {number + 1} of {effort.load_rounds}")
        with serving(daemon("--model", str(model))) as server:
            load = measured(server.address, sessions, effort.warm_up_s, effort.load_s)
            rates["plain"].append(load.tokens_per_s)
        for daemons in DAEMONS:
            with _fleet(redis, model, daemons) as address:
                before, start_s = work_of(redis), time.monotonic()
                load = measured(
                    address, sessions, effort.warm_up_s, effort.load_s, SAFE_LATER, proxied=True
                )
                rates[str(daemons)].append(load.tokens_per_s)
                works.append(work_of(redis) - before)
                took_s = time.monotonic() - start_s
    figures: dict[str, float] = {}
    for name, rate in rates.items():
        figures |= figure(f"scale.tokens_per_s.{name}", rate)
        if name not in {"plain", "1"}:
            figures |= figure(f"scale.ratio.{name}", ratios(rate, rates["1"]))
    last = works[-1]
    return figures | {
        "scale.redis_us.write": statistics.median(1e6 * w.cpu_s / w.session_writes for w in works),
        "scale.redis_bytes_a_write": statistics.median(
            w.in_bytes / w.session_writes for w in works
        ),
        "scale.writes_per_s": last.session_writes / took_s / sessions,
    }


@contextmanager
def _fleet(redis: RedisServer, model: Path, daemons: int) -> Iterator[str]:
    """Run daemons and a proxy before them; return its address."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="cellwire-bench-"))
        addresses = [
            stack.enter_context(serving([*cores, *_command(redis, model)])).address
            for cores in _shares(daemons)
        ]
        yield stack.enter_context(proxied(_HAPROXY, Path(folder), addresses))


def _command(redis: RedisServer, model: Path) -> list[str]:
    return daemon("--model", str(model), "--threads", "1", "--state", redis.url)


def _shares(daemons: int) -> list[list[str]]:
    """Return how each daemon is started so that it has its share of the cores."""
    cores = core_numbers()
    if daemons > len(cores) or daemons == 1:
        return [[]] * daemons
    shares = [cores[number::daemons] for number in range(daemons)]
    return [["taskset", "--cpu-list", ",".join(map(str, share))] for share in shares]


def _one_by_one(setting: Setting, redis: RedisServer, model: Path) -> dict[str, float]:
    """Measure what Redis does for leases, wakes and hand-overs."""
    repeats = setting.effort.repeats
    setting.say(f"scale: wakes and hands over {repeats} sessions")
    ids, _ = fill(redis, model, _TEXT_TOKENS, repeats)
    without_daemons = _redis_load(redis, lambda: time.sleep(_IDLE_S))[0]
    command = _command(redis, model)
    with serving(command) as first, serving(command) as second:
        with_daemons = _redis_load(redis, lambda: time.sleep(_IDLE_S))[0]
        works = {
            "wake": _redis_load(redis, lambda: _wake(first.address, ids)),
            "hand_over": _redis_load(redis, lambda: _wake(second.address, ids)),
        }
    leases = (with_daemons - without_daemons) / 2
    return {
        "scale.redis_us.lease": 1e6 * leases,
        **{
            f"scale.redis_us.{name}": 1e6 * (load - with_daemons) * took_s / repeats
            for name, (load, took_s) in works.items()
        },
    }


def _wake(address: str, session_ids: Sequence[str]) -> None:
    wake(address, session_ids)
    time.sleep(_SETTLE_S)  # what is let go of is stored


def _redis_load(redis: RedisServer, act: Callable[[], None]) -> tuple[float, float]:
    """Return what share of a core a Redis takes during an act, and how long that takes."""
    before, start_s = work_of(redis), time.monotonic()
    act()
    took_s = time.monotonic() - start_s
    return (work_of(redis) - before).cpu_s / took_s, took_s
