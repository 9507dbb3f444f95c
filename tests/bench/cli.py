"""Runs benchmarks and reports their figures; `python -m tests.bench` is its command."""

from __future__ import annotations

import importlib
import json
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import cast

from rich.console import Console
from rich.table import Table
from tests.bench.figures import BOUNDS, HIGH, LOW
from tests.bench.machine import described
from tests.bench.models import Models
from tests.bench.setting import FULL, QUICK, Setting

from cellwire.server.host.config import Config

ALL = "all"
BY_NAME_ONLY = ("gpu",)  # most machines have none
NAMES = (
    "raw",
    "served",
    "mixed",
    "keystroke",
    "idle",
    "slots",
    "alternatives",
    "prefill",
    "start",
    "durable",
    "scale",
    "growth",
    "int8",
    "trainer",
)

Result = dict[str, "float | dict[str, str | int]"]


def bench(names: Sequence[str], *, quick: bool, as_json: bool, out: Path | None) -> None:
    """Run benchmarks, print their figures, and write them to `out`; ValueError for a strange name.

    Each figure is a number under its name; `machine` says what they were measured on.
    """
    every = (*NAMES, *BY_NAME_ONLY)
    if strange := set(names) - {ALL, *every}:
        raise ValueError(f"there is no benchmark {min(strange)!r}; there are: {', '.join(every)}")
    chosen = NAMES if ALL in names or not names else [name for name in every if name in names]
    # Checked here, before a process fails in the middle.
    if "alternatives" in chosen and find_spec("litserve") is None:
        raise ModuleNotFoundError("the bench extra is not installed", name="litserve")
    result: Result = {}
    for result in measured(chosen, quick=quick):
        if out is not None:  # after each, so that one that fails takes no other with it
            out.write_text(json.dumps(result, indent=1) + "\n")
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
    else:
        print_result(result)


def measured(names: Sequence[str], *, quick: bool) -> Iterator[Result]:
    """Run benchmarks one after the other; after each, yield all there is."""
    threads = Config().threads
    result: Result = {"machine": described(threads)}
    with tempfile.TemporaryDirectory(prefix="cellwire-bench-") as folder:
        effort = QUICK if quick else FULL
        setting = Setting(Models(Path(folder)), threads, effort, _say)
        for name in names:
            start = time.monotonic()
            result |= load(name)(setting)
            _say(f"{name}: took {time.monotonic() - start:.0f} s")
            yield result


def load(name: str) -> Callable[[Setting], dict[str, float]]:
    """Return what runs a benchmark."""
    module = importlib.import_module(f"tests.bench.{name}")
    return cast("Callable[[Setting], dict[str, float]]", module.run)


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def print_result(result: Result) -> None:
    """Print a table of the figures, those with a bound with what they must come to."""
    console = Console(width=None if sys.stdout.isatty() else 120)
    machine = result["machine"]
    assert isinstance(machine, dict)
    console.print(", ".join(f"{name} {value}" for name, value in machine.items()), highlight=False)
    table = Table("figure", "value", "of the rounds", "must be", "")
    for name, value in result.items():
        if name == "machine" or name.endswith((LOW, HIGH)):
            continue
        assert isinstance(value, int | float)
        table.add_row(name, number(value), _spread(result, name), *_verdict(name, value))
    console.print(table)


def _spread(result: Result, name: str) -> str:
    if name + LOW not in result:
        return ""
    low, high = (cast("float", result[name + end]) for end in (LOW, HIGH))
    return f"{number(low)} to {number(high)}"


def _verdict(name: str, value: float) -> tuple[str, str]:
    bound = BOUNDS.get(name)
    if bound is None:
        return "", ""
    return str(bound), "ok" if bound.met_by(value) else "missed"


def number(value: float) -> str:
    """Show a number with three digits that mean something."""
    digits = 0 if abs(value) >= 100 else 2 if abs(value) >= 1 else 3
    return f"{value:,.{digits}f}"
