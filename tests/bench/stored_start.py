"""The start of a daemon whose store has very many sessions, beside one whose store is empty."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from tests.bench.child import daemon, resident_bytes, serving
from tests.bench.pace import figure, ratios
from tests.bench.setting import Setting
from tests.bench.stored import Filler

from cellwire.model_file.cell import read_cell
from cellwire.server.store.sqlite import SqliteStore

TEXT_TOKENS = 100
FIGURES = (
    "durable.start_ratio",
    "durable.start_s.full",
    "durable.start_s.empty",
    "durable.start_rss_mb.full",
    "durable.start_rss_mb.empty",
    "durable.start_sessions",
    "durable.fill_s",
)

_SETTLE_S = 0.5


def run(setting: Setting, size: str) -> dict[str, float]:
    """Fill a store, then start daemons with it and with an empty one, in turns."""
    model = setting.models.path(size)
    stored, starts = setting.effort.stored, setting.effort.starts
    setting.say(f"durable: puts {stored:,} sessions into a store")
    with tempfile.TemporaryDirectory(prefix="cellwire-bench-") as folder:
        full, empty = (Path(folder, name) for name in ("full", "empty"))
        store = SqliteStore(full)
        filled = Filler(read_cell(model), TEXT_TOKENS).fill(store, stored)
        store.close()
        setting.say(f"durable: that took {filled.took_s:.0f} s; {starts} starts with and without")
        for state in (full, empty):  # the first reads from the disk, or makes it
            _start(model, state)
        rounds = [(_start(model, full), _start(model, empty)) for _ in range(starts)]
    times_s = [[start[0] for start in some] for some in zip(*rounds, strict=True)]
    sizes = [[start[1] for start in some] for some in zip(*rounds, strict=True)]
    return {
        **figure("durable.start_ratio", ratios(*times_s)),
        **figure("durable.start_s.full", times_s[0]),
        **figure("durable.start_s.empty", times_s[1]),
        **figure("durable.start_rss_mb.full", sizes[0]),
        **figure("durable.start_rss_mb.empty", sizes[1]),
        "durable.start_sessions": stored,
        "durable.fill_s": filled.took_s,
    }


def _start(model: Path, state: Path) -> tuple[float, float]:
    """Return when a daemon was ready, in seconds, and its size then, in 10^6 bytes."""
    with serving(daemon("--model", str(model), "--state", str(state))) as server:
        time.sleep(_SETTLE_S)
        return server.ready_s, resident_bytes(server.process.pid) / 1e6
