"""The result of a trial as a table: from runs/crash.json into docs/reliability.md.

    python -m tests.crash --kills 1000 --out runs/crash.json
    python -m tests.crash.report runs/crash.json

The table replaces what is between two marks of the page.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
MARKS = "<!-- crash -->", "<!-- end of crash -->"

_OUTAGES = {
    "kill": "kills (SIGKILL)",
    "kill while starting": "kills while it started",
    "terminate": "ends by SIGTERM",
    "pause": "pauses (SIGSTOP)",
    "full disk": "full disks",
    "pause past its lease": "pauses past the lease",
    "pause the store": "pauses of the Redis server",
    "kill and restart the store": "kills of the Redis server (SIGKILL)",
}
_COUNTS = {
    "sessions": "sessions, each compared with an uninterrupted one",
    "operations": "operations",
    "characters": "characters in the sessions at their end",
    "attaches": "attaches",
    "moves": "sessions moved between daemons that both ran",
    "sent_again": "operations sent again",
    "lost_sessions": "sessions lost before anything of them was called safe",
}


def write_report(result: Mapping[str, Any], page: Path = PAGE) -> None:
    """Bring the page's table up to date."""
    first, last = MARKS
    text = page.read_text(encoding="utf-8")
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise ValueError(f"{page} has not both of {first} and {last}")
    page.write_text(f"{before}{first}\n{table(result)}{last}{after}", encoding="utf-8")


def table(result: Mapping[str, Any]) -> str:
    """Return what a trial that found no broken promise has done, as one table or two."""
    shared = result.get("shared")
    tables = [_table(result, "") if "seed" in result else ""]
    tables += [_table(shared, "Two daemons on one Redis server. ")] if shared else []
    return "".join(tables) + "\n"


def _table(result: Mapping[str, Any], title: str) -> str:
    counts = result["counts"]
    told = [name for name in _COUNTS if counts.get(name) or name != "moves"]
    rows = [
        *((_OUTAGES.get(kind, kind), number) for kind, number in result["outages"].items()),
        *((_COUNTS[name], counts[name]) for name in told),
    ]
    lines = "".join(f"| {words} | {number:,} |\n" for words, number in rows)
    broken = "| **broken promises** | **0** |\n"
    return (
        f"\n{title}Seed {result['seed']}, {result['seconds']:,} s on this machine:\n\n"
        f"| | |\n|---|---|\n{lines}{broken}"
    )


if __name__ == "__main__":
    write_report(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
