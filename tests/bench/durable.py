"""durable: sessions that a store keeps, against sessions that end with their daemon.

Two daemons take turns, one without a store and one with SQLite in a temporary folder; the folder's
disk counts, since each commit waits for it. Model M where nothing else is said.

durable.served_ratio.<durability>.<model>.64     characters/s with / without, as in `served`
durable.tokens_per_s.<durability>.<model>.64     of all sessions together
durable.keystroke_ratio.<durability>.p50, .p99   time with / without, as in `keystroke`, alone
durable.keystroke_ms.<durability>.p50, .p99

What a session costs that is at rest (wakes.py, hand_overs.py, stored_start.py):

durable.wake_ms.<tokens>.p50, .p99        from an attach to its answer, of a session in the store
durable.wake_text_ms.<tokens>.p50, .p99   from the attach to the first character it generates then
durable.attach_ms.p50, .p99               likewise, of a session that is in the process
durable.stored_bytes.<store>.<tokens>     of a session: SQLite's file, Redis' used_memory
durable.idle_bytes, .idle_bytes_a_token   of a session in the process that remembers 100,000 tokens,
                                          without its state
durable.hand_over_ms.p50, .p99            from an attach at one daemon to its answer, of a session
                                          that another daemon holds; both on one Redis
durable.hand_over_wake_ms.p50, .p99       the same of a session that no daemon holds
durable.start_ratio                       time until the ready line, with stored sessions / without
durable.start_s.full, .empty              these times
durable.start_rss_mb.full, .empty         of the daemon when it is idle again; in 10^6 bytes
durable.start_sessions                    how many stored sessions, of 100 tokens each
durable.fill_s                            how long the store took to get these
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import product
from pathlib import Path

from tests.bench import hand_overs, stored_start, wakes
from tests.bench.child import daemon, serving
from tests.bench.durability import DURABILITIES, NONE
from tests.bench.figures import names
from tests.bench.load import measured
from tests.bench.pace import figure, quantile, ratios
from tests.bench.setting import Setting
from tests.bench.typist import keystrokes_s

SIZES = ("S", "M", "L")
KEYSTROKE_SIZE = "M"
SESSIONS = 64

_QUANTILES = {"p50": 0.5, "p99": 0.99}
_ROUNDS = 2  # for each round of the load alone: what is compared differs by little

FIGURES = (
    *names("durable.served_ratio", DURABILITIES[1:], SIZES, (SESSIONS,)),
    *names("durable.tokens_per_s", DURABILITIES, SIZES, (SESSIONS,)),
    *names("durable.keystroke_ratio", DURABILITIES[1:], _QUANTILES),
    *names("durable.keystroke_ms", DURABILITIES, _QUANTILES),
    *wakes.FIGURES,
    *hand_overs.FIGURES,
    *stored_start.FIGURES,
)

Addresses = dict[str, str]  # by durability


def run(
    setting: Setting, sizes: Sequence[str] = SIZES, sessions: int = SESSIONS
) -> dict[str, float]:
    """Measure sessions at work, then at rest."""
    figures: dict[str, float] = {}
    for size in sizes:
        with _two_daemons(setting.models.path(size)) as addresses:
            figures |= _served(setting, addresses, size, sessions)
            if size == KEYSTROKE_SIZE or KEYSTROKE_SIZE not in sizes:
                figures |= _keystrokes(setting, addresses)
    size = KEYSTROKE_SIZE if KEYSTROKE_SIZE in sizes else sizes[0]
    for part in (wakes, hand_overs, stored_start):
        figures |= part.run(setting, size)
    return figures


@contextmanager
def _two_daemons(model: Path) -> Iterator[Addresses]:
    """Run a daemon without a store and one with; return which serves sessions of a durability."""
    command = daemon("--model", str(model))
    with (
        tempfile.TemporaryDirectory(prefix="cellwire-bench-") as folder,
        serving(command) as without,
        serving([*command, "--state", folder]) as with_store,
    ):
        addresses = dict.fromkeys(DURABILITIES, with_store.address)
        yield addresses | {NONE: without.address}


def _served(setting: Setting, addresses: Addresses, size: str, sessions: int) -> dict[str, float]:
    effort = setting.effort
    rates: dict[str, list[float]] = {durability: [] for durability in DURABILITIES}
    for number in range(_ROUNDS * effort.load_rounds):
        setting.say(f"durable: {size}, {sessions} sessions, round {number + 1}")
        for durability in _in_turn(number):
            load = measured(
                addresses[durability], sessions, effort.warm_up_s, effort.load_s, durability
            )
            rates[durability].append(load.tokens_per_s)
    figures: dict[str, float] = {}
    for durability in DURABILITIES:
        at = f"{durability}.{size}.{sessions}"
        figures |= figure(f"durable.tokens_per_s.{at}", rates[durability])
        if durability != NONE:
            ratio = ratios(rates[durability], rates[NONE])
            figures |= figure(f"durable.served_ratio.{at}", ratio)
    return figures


def _keystrokes(setting: Setting, addresses: Addresses) -> dict[str, float]:
    effort = setting.effort
    times = {key: list[float]() for key in product(DURABILITIES, _QUANTILES)}
    for number in range(_ROUNDS * effort.load_rounds):
        setting.say(f"durable: keystrokes, round {number + 1}")
        for durability in _in_turn(number):
            seconds = keystrokes_s(addresses[durability], effort.keystrokes, durability=durability)
            for name, share in _QUANTILES.items():
                times[durability, name].append(quantile(seconds, share))
    figures: dict[str, float] = {}
    for (durability, name), seconds in times.items():
        at = f"{durability}.{name}"
        figures |= figure(f"durable.keystroke_ms.{at}", [1_000 * time_s for time_s in seconds])
        if durability != NONE:
            ratio = ratios(seconds, times[NONE, name])
            figures |= figure(f"durable.keystroke_ratio.{at}", ratio)
    return figures


def _in_turn(number: int) -> Sequence[str]:
    """Return the durabilities in another order in each round: none is always first."""
    at = number % len(DURABILITIES)
    return (*DURABILITIES[at:], *DURABILITIES[:at])
