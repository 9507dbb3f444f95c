"""What a card does in a run: its kernels and copies, and how long each of them takes by itself.

torch's profiler sees whatever the process has a card do, so also what ONNX Runtime launches; its
own profile has no kernels, because the wheel is built without CUPTI. Run in a process of its own:
a card that was ever profiled may launch more slowly from then on. The program is launched kernel by
kernel; a CUDA graph of it has the same kernels.

python -m tests.bench.kernels MODEL --rows 512 --device cuda --number 0
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.bench.nodes import node_count
from torch import profiler

from cellwire.model_file.cell import read_cell
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program

ON_CARD = frozenset({"kernel", "gpu_memcpy", "gpu_memset"})  # kinds of events of a trace
_WARM_UP_RUNS = 5
_RUNS = 10
_SHOWN = 12


@dataclass(frozen=True, slots=True)
class Kernels:
    """The kernels, copies and fills of one run."""

    number: float
    time_us: float  # the sum of their own times, without what lies between
    longest: dict[str, float]  # those that take the most time: names, and us a run


def kernels_of(
    run: Callable[[], object], runs: int = _RUNS, kinds: Iterable[str] = ON_CARD
) -> Kernels:
    """Return what a card does in a run."""
    for _ in range(_WARM_UP_RUNS):
        run()
    with profiler.profile() as profile:
        for _ in range(runs):
            run()
    with tempfile.TemporaryDirectory(prefix="cellwire-bench-") as folder:
        path = Path(folder) / "trace.json"
        profile.export_chrome_trace(str(path))
        events: list[dict[str, Any]] = json.loads(path.read_text())["traceEvents"]
    times_us = Counter[str]()
    number, kinds = 0, frozenset(kinds)
    for event in events:
        if event.get("cat") in kinds:
            number += 1
            times_us[event["name"]] += event["dur"]
    return Kernels(
        number / runs,
        times_us.total() / runs,
        {name[:80]: time_us / runs for name, time_us in times_us.most_common(_SHOWN)},
    )


def reckoned_kernels(model: Path, steps: int) -> int:
    """Return the number for a run whose rows all draw, counted in the program."""
    plain = SamplerVariant.PLAIN
    shape = ProgramShape(steps, limit=0)
    return node_count(compose_step_program(read_cell(model), plain, shape, ragged=False))


def _main() -> None:
    from tests.bench.fixed_shape_stepping import FixedShapeStepping

    from cellwire.server.runtime.cuda import find_card
    from cellwire.server.runtime.device import Device, Execution

    parser = argparse.ArgumentParser()
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--device", choices=("cpu", "cuda"), required=True)
    parser.add_argument("--number", type=int, required=True)
    options = parser.parse_args()
    if options.device == "cuda":
        find_card(options.number)  # loads CUDA's libraries
    execution = Execution(Device(options.device, options.number), fixed_shape=True)
    stepping = FixedShapeStepping(options.model, execution, options.rows)
    sys.stdout.write(json.dumps(asdict(kernels_of(stepping.replay))))


if __name__ == "__main__":
    _main()
