"""Figures as tables and plots: from the JSON of `python -m tests.bench` into docs/benchmarks.md.

    python -m tests.bench.report runs/bench.json
    python -m tests.bench.report runs/gpu.json

Those of several daemons also come into docs/scale.md, see scale_page.py.

The tables replace the text between two marks of the page, those of a GPU between another two. The
page is created if it does not exist; its other text stays. The plots are in docs/benchmarks/.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from tests.bench.child import ROOT
from tests.bench.cli import BY_NAME_ONLY, NAMES, Result, number
from tests.bench.figures import BOUNDS, HIGH, LOW
from tests.bench.scale_page import write_scale

PAGE = ROOT / "docs" / "benchmarks.md"
PLOTS = PAGE.with_suffix("")
MARKS = "<!-- figures -->", "<!-- end of figures -->"
GPU_MARKS = "<!-- figures of a GPU -->", "<!-- end of figures of a GPU -->"
COMMAND = "python -m tests.bench all --out runs/bench.json"
GPU_COMMAND = "python -m tests.bench gpu --out runs/gpu.json"


def write_report(result: Result, page: Path = PAGE, plots: Path = PLOTS) -> None:
    """Bring the page's figures up to date, and draw the plots."""
    from tests.bench.plots import draw

    plots.mkdir(parents=True, exist_ok=True)
    drawn = draw(result, plots)
    first, last = marks = GPU_MARKS if of_gpu(result) else MARKS
    lines = "\n".join(marks)
    text = page.read_text() if page.exists() else f"# Benchmarks\n\n{lines}\n"
    before, begin, rest = text.partition(first)
    _, end, after = rest.partition(last)
    if not (begin and end):
        raise ValueError(f"{page} has not both of {first} and {last}")
    body = markdown(result, [f"{plots.name}/{path.name}" for path in drawn])
    page.write_text(f"{before}{first}\n{body}{last}{after}")


def of_gpu(result: Result) -> bool:
    """Whether these are a GPU's figures."""
    return any(name.startswith("gpu.") for name in result)


def markdown(result: Result, plots: Sequence[str] = ()) -> str:
    """Return the machine, the figures that have a bound, the plots, and every figure."""
    numbers = numbers_of(result)
    parts = [
        f"Made by `{GPU_COMMAND if of_gpu(result) else COMMAND}` on this machine:\n",
        _table(("", ""), [(name, str(value)) for name, value in _machine(result).items()]),
        "The figures that have a bound, with the least and the greatest of their rounds:\n",
        _table(
            ("figure", "value", "rounds", "must be", ""),
            [_bounded(numbers, name) for name in BOUNDS if name in numbers],
        ),
        *(f"![{Path(plot).stem}]({plot})\n" for plot in plots),
        *(_all_of(numbers, name) for name in (*NAMES, *BY_NAME_ONLY)),
    ]
    return "\n" + "\n".join(part for part in parts if part) + "\n"


def numbers_of(result: Result) -> dict[str, float]:
    """Return the figures alone."""
    return {name: cast("float", value) for name, value in result.items() if name != "machine"}


def _machine(result: Result) -> dict[str, str | int]:
    return cast("dict[str, str | int]", result["machine"])


def _bounded(numbers: dict[str, float], name: str) -> tuple[str, ...]:
    bound, value = BOUNDS[name], numbers[name]
    verdict = "" if bound.met_by(value) else "**missed**"
    return f"`{name}`", number(value), rounds_of(numbers, name), str(bound), verdict


def rounds_of(numbers: dict[str, float], name: str) -> str:
    """Return between what the rounds of a figure lie."""
    if name + LOW not in numbers:
        return ""
    return f"{number(numbers[name + LOW])} to {number(numbers[name + HIGH])}"


def _all_of(numbers: dict[str, float], benchmark: str) -> str:
    rows = [
        (f"`{name}`", number(value), rounds_of(numbers, name))
        for name, value in numbers.items()
        if name.startswith(f"{benchmark}.") and not name.endswith((LOW, HIGH))
    ]
    if not rows:
        return ""
    table = _table(("figure", "value", "rounds"), rows)
    return f"<details><summary>{benchmark}</summary>\n\n{table}\n</details>\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


if __name__ == "__main__":
    try:
        found: Result = json.loads(Path(sys.argv[1]).read_text())
        write_report(found)
        write_scale(numbers_of(found))
    except ModuleNotFoundError as missing:
        sys.exit(f"{missing.name} is missing: pip install -e '.[bench]'")
