"""docs/scale.md: what was measured with several daemons, and the model of very many, as tables."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.bench.child import ROOT
from tests.bench.cli import number
from tests.bench.figures import HIGH, LOW
from tests.bench.scale import DAEMONS
from tests.bench.scale_model import FIGURES, Fleet, processor_shares, uses, writes_per_s

PAGE = ROOT / "docs" / "scale.md"
MEASURED_MARKS = "<!-- measured -->", "<!-- end of measured -->"
MODEL_MARKS = "<!-- model -->", "<!-- end of model -->"

_COSTS = (
    ("a wake, from SQLite", "durable.wake_ms.1000.p50", "durable.wake_ms.1000.p99", ""),
    (
        "a wake, from Redis",
        "durable.hand_over_wake_ms.p50",
        "durable.hand_over_wake_ms.p99",
        "scale.redis_us.wake",
    ),
    (
        "a hand-over",
        "durable.hand_over_ms.p50",
        "durable.hand_over_ms.p99",
        "scale.redis_us.hand_over",
    ),
    ("a change that is stored, under load", "", "", "scale.redis_us.write"),
    ("a daemon's lease, a second", "", "", "scale.redis_us.lease"),
)

Numbers = Mapping[str, float]


def write_scale(numbers: Numbers, page: Path = PAGE) -> None:
    """Bring the page's tables up to date, those for which there are figures."""
    text = page.read_text()
    if "scale.tokens_per_s.1" in numbers:
        text = _between(text, MEASURED_MARKS, measured_tables(numbers))
    if all(name in numbers for name in FIGURES):
        text = _between(text, MODEL_MARKS, model_tables(numbers))
    page.write_text(text)


def measured_tables(numbers: Numbers) -> str:
    """Return the sums of several daemons, and what single things cost."""
    rows = [("one, without proxy and store", *_rate(numbers, "plain"), "")]
    for daemons in DAEMONS:
        ratio = numbers.get(f"scale.ratio.{daemons}", 1.0)
        rows.append((f"{daemons}", *_rate(numbers, f"{daemons}"), number(ratio)))
    costs = [
        (name, *(_cell(numbers, figure) for figure in figures))
        for name, *figures in _COSTS
        if any(figure in numbers for figure in figures)
    ]
    return (
        _table(("daemons", "characters/s", "rounds", "over one"), rows)
        + "\n"
        + _table(("", "p50, ms", "p99, ms", "Redis, µs"), costs)
    )


def model_tables(numbers: Numbers, fleet: Fleet | None = None) -> str:
    """Return what the model assumes, and what it gives."""
    fleet = fleet or Fleet()
    assumed = [
        ("daemons", f"{fleet.nodes:,}"),
        ("sessions, of a thousand characters each", f"{fleet.sessions:,}"),
        ("of them, that generate at any time", f"{fleet.active_share:.0%}"),
        ("changes a second of one that generates", f"{fleet.writes_per_s:g}"),
        ("wakes of each session a day", f"{fleet.wakes_a_day:g}"),
        ("of these, hand-overs", f"{fleet.moves_share:.0%}"),
        ("bytes of a session in Redis, measured", _figure(numbers, FIGURES[0])),
        ("changes a second, of all", f"{writes_per_s(fleet):,.0f}"),
    ]
    found = uses(numbers, fleet)
    rows = [
        (
            use.name,
            f"{number(use.of_fleet)} {use.unit}",
            f"{number(use.of_one_redis)} {use.unit}",
            f"{math.ceil(use.servers):,}",
            f"{fleet.nodes / use.servers:,.0f}",
        )
        for use in found
    ]
    shares = processor_shares(numbers, fleet)
    cores = [(name, f"{number(share)} cores") for name, share in shares.items()]
    head = ("", "of all", "one Redis has", "servers needed", "daemons that fill one")
    return (
        _table(("assumed", ""), assumed)
        + "\n"
        + _table(head, rows)
        + f"\nWhat is short first: **{found[0].name}**. Redis' processor is for\n\n"
        + _table(("", ""), cores)
    )


def _rate(numbers: Numbers, which: str) -> tuple[str, str]:
    name = f"scale.tokens_per_s.{which}"
    return number(numbers[name]), f"{number(numbers[name + LOW])} to {number(numbers[name + HIGH])}"


def _cell(numbers: Numbers, name: str) -> str:
    return _figure(numbers, name) if name in numbers else ""


def _figure(numbers: Numbers, name: str) -> str:
    return number(numbers[name])


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _between(text: str, marks: tuple[str, str], body: str) -> str:
    first, last = marks
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise ValueError(f"the page has not both of {first} and {last}")
    return f"{before}{first}\n\n{body}\n{last}{after}"
