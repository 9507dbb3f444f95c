"""The plots of the benchmarks page, from the figures that exist."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from tests.bench import alternatives, growth, raw, served
from tests.bench.cli import Result
from tests.bench.figures import HIGH, LOW

mpl.use("svg")
mpl.rcParams.update({"svg.hashsalt": "cellwire", "font.size": 9, "axes.grid": True})

from matplotlib import pyplot as plt  # noqa: E402  # after the choice of what draws

Numbers = dict[str, float]
Series = Mapping[str, Sequence[tuple[float, str]]]  # label: x, and the figure that is y


def draw(result: Result, folder: Path) -> list[Path]:
    """Draw what can be drawn; return the files."""
    numbers = {name: v for name, v in result.items() if isinstance(v, int | float)}
    paths = []
    for name, drawing in _DRAWINGS.items():
        plot, axes = plt.subplots(figsize=(6.5, 3.6), layout="constrained")
        if drawing(axes, numbers):
            paths.append(folder / f"{name}.svg")
            # Without the date, the same figures make the same file.
            plot.savefig(paths[-1], metadata={"Date": None})
        plt.close(plot)
    return paths


def _lines(axes: Any, numbers: Numbers, series: Series) -> bool:  # noqa: ANN401  # see pyproject
    """Draw lines with their rounds' spread; False if there is nothing to draw."""
    for label, points in series.items():
        known = [(x, name) for x, name in points if name in numbers]
        if not known:
            continue
        y = [numbers[name] for _, name in known]
        low = [numbers[name] - numbers.get(name + LOW, numbers[name]) for _, name in known]
        high = [numbers.get(name + HIGH, numbers[name]) - numbers[name] for _, name in known]
        axes.errorbar([x for x, _ in known], y, (low, high), label=label, marker="o", capsize=3)
    if not axes.containers:
        return False
    axes.set_xscale("log", base=2)
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(bottom=0)
    axes.legend()
    return True


def _raw(axes: Any, numbers: Numbers) -> bool:  # noqa: ANN401
    axes.set(xlabel="batch", ylabel="program / limit", title="raw: the program against the limits")
    ways = {"cell_ratio": "bare cell", "gemm_ratio": "matrix products"}
    series = {
        f"{size}, {label}": [(b, f"raw.{way}.{size}.{b}") for b in raw.BATCHES]
        for way, label in ways.items()
        for size in raw.SIZES
    }
    return _lines(axes, numbers, series)


def _served(axes: Any, numbers: Numbers) -> bool:  # noqa: ANN401
    axes.set(xlabel="sessions", ylabel="served / raw", title="served: over the wire / bare loop")
    series = {
        size: [(n, f"served.ratio.{size}.{n}") for n in served.SESSIONS] for size in served.SIZES
    }
    return _lines(axes, numbers, series)


def _growth(axes: Any, numbers: Numbers) -> bool:  # noqa: ANN401
    axes.set(xlabel="sessions", ylabel="tokens/s", title="growth: M, over the wire")
    series = {"M": [(n, f"growth.tokens_per_s.{n}") for n in growth.SESSIONS]}
    return _lines(axes, numbers, series)


def _vocabulary(axes: Any, numbers: Numbers) -> bool:  # noqa: ANN401
    axes.set(xlabel="symbols", ylabel="ms", title="growth: a step of 64 rows, M")
    series = {
        kind: [(v, f"growth.step_ms.{kind}.{v}") for v in growth.VOCABULARIES]
        for kind in growth.KINDS
    }
    return _lines(axes, numbers, series)


def _alternatives(axes: Any, numbers: Numbers) -> bool:  # noqa: ANN401
    axes.set(ylabel="tokens/s", title=f"alternatives: {alternatives.SESSIONS} sessions")
    bars: Numbers = {}
    for size in alternatives.SIZES:
        for which in ("cellwire", *alternatives.WHICH):
            name = f"alternatives.tokens_per_s.{which}.{size}.{alternatives.SESSIONS}"
            if name in numbers:
                bars[f"{which}\n{size}"] = numbers[name]
    axes.bar_label(axes.bar(list(bars), list(bars.values())), fmt="{:,.0f}")
    return bool(bars)


_DRAWINGS: dict[str, Callable[[Any, Numbers], bool]] = {
    "raw": _raw,
    "served": _served,
    "alternatives": _alternatives,
    "sessions": _growth,
    "vocabulary": _vocabulary,
}
