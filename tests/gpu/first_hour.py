"""The first hour on a card: every step of docs/gpu-first-hour.md, written into one file.

    python -m tests.gpu.first_hour

A step that fails does not keep the others from being run, unless there is no card. The exit status
is 1 if one has failed.
"""

from __future__ import annotations

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from tests.bench.child import ROOT
from tests.gpu.required_card import REQUIRED

_OUT = ROOT / "runs" / "gpu-first-hour.txt"
_RULE = "=" * 80

_CARD = "name,driver_version,compute_cap,memory.total,memory.used,mig.mode.current,power.limit"
_LIBRARY = """
import importlib.util
import onnxruntime
print(onnxruntime.__version__, onnxruntime.cuda_version, onnxruntime.get_available_providers())
print(onnxruntime.__file__)
packages = importlib.util.find_spec("nvidia")
print(*packages.submodule_search_locations if packages else ["no package of CUDA's libraries"])
"""
_FIND_CARD = """
import sys
from cellwire.server.errors import NoCuda
from cellwire.server.runtime.cuda import find_card
try:
    print(find_card(0))
except NoCuda as missing:
    sys.exit(f"no card: {missing}")
assert "torch" not in sys.modules
"""


@dataclass(frozen=True, slots=True)
class Step:
    """A command, named as on the page."""

    name: str
    command: tuple[str, ...]
    is_essential: bool = False  # without it, the steps after it are left out

    @property
    def is_possible(self) -> bool:
        """Whether the program is installed."""
        return shutil.which(self.command[0]) is not None


def _tests(file: str, *options: str) -> tuple[str, ...]:
    pytest = (sys.executable, "-m", "pytest", "-m", "gpu", "--timeout", "600")
    return *pytest, f"tests/gpu/{file}", *options


def _bench(*options: str) -> tuple[str, ...]:
    return sys.executable, "-m", "tests.bench", "gpu", "--json", *options


_SANITIZER = ("compute-sanitizer", "--target-processes", "all", "--error-exitcode", "9")
STEPS = (
    Step("machine", ("nvidia-smi", f"--query-gpu={_CARD}", "--format=csv")),
    Step("library", (sys.executable, "-c", _LIBRARY)),
    Step("card", (sys.executable, "-c", _FIND_CARD), is_essential=True),
    Step("steps", _tests("test_steps.py")),
    Step("searches", _tests("test_searches.py")),
    Step("graphs", _tests("test_graphs.py")),
    Step("models", _tests("test_models.py")),
    Step("engine", _tests("test_engine.py")),
    Step("torch", _tests("test_torch.py")),
    Step(
        "sanitizer",
        (*_SANITIZER, *_tests("test_graphs.py", "-k", "graph_replayed", "--timeout", "0")),
    ),
    Step("quick benchmark", _bench("--quick")),
    Step("benchmark", _bench("--out", str(_OUT.with_name("gpu.json")))),
)


def run(step: Step, log: TextIO) -> str:
    """Run a step, and copy all that it says to the log; return its outcome."""
    log.write(f"\n{_RULE}\n{step.name}: {shlex.join(step.command)}\n{_RULE}\n")
    if not step.is_possible:
        log.write(f"{step.command[0]} is not installed\n")
        return f"left out: {step.command[0]} is not installed"
    start_s = time.monotonic()
    with subprocess.Popen(
        step.command,
        cwd=ROOT,
        env=os.environ | {REQUIRED: "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            sys.stdout.write(line)
    log.flush()
    outcome = "ok" if process.returncode == 0 else f"failed with {process.returncode}"
    return f"{outcome}, {time.monotonic() - start_s:.0f} s"


def main(steps: Sequence[Step] = STEPS, arguments: Sequence[str] | None = None) -> int:
    """Run the steps, all or those named; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.gpu.first_hour")
    parser.add_argument("names", nargs="*", metavar="STEP", help=", ".join(s.name for s in steps))
    parser.add_argument("--out", type=Path, default=_OUT, help=f"default: {_OUT.name} in runs/")
    options = parser.parse_args(arguments)
    if strange := set(options.names) - {step.name for step in steps}:
        parser.error(f"there is no step {min(strange)!r}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    outcomes: dict[str, str] = {}
    with options.out.open("w") as log:
        for step in steps:
            if not options.names or step.name in options.names:
                sys.stdout.write(f"{step.name} ...\n")
                outcomes[step.name] = outcome = run(step, log)
                if step.is_essential and outcome.startswith("failed"):
                    break
        summary = "".join(f"{name:16} {outcome}\n" for name, outcome in outcomes.items())
        log.write(f"\n{_RULE}\nsummary\n{_RULE}\n{summary}")
    sys.stdout.write(f"\n{summary}\nall of it is in {options.out}\n")
    return int(any(outcome.startswith("failed") for outcome in outcomes.values()))


if __name__ == "__main__":
    sys.exit(main())
