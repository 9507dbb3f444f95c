"""The machine and the versions that a run was measured with."""

from __future__ import annotations

import os
import platform
import subprocess
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pynvml
from tests.bench.child import ROOT
from tests.bench.models import SIZES
from tests.bench.texts import VOCABULARY

from cellwire.server.errors import NoCuda
from cellwire.server.runtime.cuda import find_card

_PACKAGES = ("onnxruntime", "grpcio", "protobuf", "numpy", "torch", "litserve")
_OTHER_BUILDS = {"onnxruntime": "onnxruntime-gpu"}


def described(threads: int) -> dict[str, str | int]:
    """Return the machine, the versions, and the settings of a run."""
    return {
        "cpu": _cpu(),
        "cores": usable_cores(),
        **_gpu(),
        "memory_gib": round(memory_bytes("MemTotal") / 2**30),
        "os": platform.platform(),
        "python": platform.python_version(),
        **{package: _version(package) for package in _PACKAGES},
        "threads": threads,
        "models": ", ".join(f"{name} = {size}" for name, size in SIZES.items() if name != "tiny")
        + f"; vocabulary {VOCABULARY}, random weights",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "revision": _revision(),
        "load_before": f"{os.getloadavg()[0]:.2f}",
    }


def core_numbers() -> list[int]:
    """Return the numbers of the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def usable_cores() -> int:
    """Return how many cores this process may use."""
    return len(core_numbers())


def memory_bytes(kind: str) -> int:
    """Return a figure of the kernel's: MemTotal, or MemAvailable."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, _, rest = line.partition(":")
        if name == kind:
            return int(rest.split()[0]) * 1024
    return 0


def _cpu() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.processor()


def _gpu() -> dict[str, str]:
    """Return the card and its driver, if there is one."""
    try:
        card = find_card(0)
    except NoCuda:
        return {}
    pynvml.nvmlInit()
    try:
        return {"gpu": card.name, "driver": pynvml.nvmlSystemGetDriverVersion()}
    finally:
        pynvml.nvmlShutdown()


def _version(package: str) -> str:
    for name in (package, _OTHER_BUILDS.get(package, package)):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return "not installed"


def _revision() -> str:
    """Return the checkout's revision, with a plus if the code is not quite that."""
    git = ["git", "-C", str(ROOT)]
    try:
        revision = subprocess.check_output([*git, "rev-parse", "--short=12", "HEAD"], text=True)
        changed = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return revision.strip() + ("+" if changed else "")
