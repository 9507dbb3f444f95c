"""The processors and the memory that this process may use: the machine's, or its container's."""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_CGROUPS = Path("/sys/fs/cgroup")
_OWN_CGROUP = Path("/proc/self/cgroup")
_MEMORY = Path("/proc/meminfo")


def cores() -> int:
    """Return how many cores this process may use: of its affinity and its quota, the fewer."""
    has_affinity = hasattr(os, "sched_getaffinity")
    available = len(os.sched_getaffinity(0)) if has_affinity else os.cpu_count() or 1
    return max(1, min([available, *(int(quota) for quota in _quotas())]))


def free_memory_bytes() -> int | None:
    """Return how much memory this process may still take; None if the system does not say."""
    free = [*_free_of_machine(), *_free_of_cgroups()]
    return max(0, min(free)) if free else None


def return_freed_memory() -> None:
    """Give the system the memory that is free but kept for later, where the C library can do so.

    What was freed among what is still used stays with the process otherwise: some 30 MiB after the
    trial of a model with 50 MiB of weights.
    """
    # Windows has no library of this name, and other C libraries than GNU's no such function.
    with contextlib.suppress(OSError, TypeError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _quotas() -> Iterator[float]:
    """Yield the quotas of the process's cgroups, in cores."""
    for folder in _folders("cpu"):
        limit, _, period = _text(folder / "cpu.max").partition(" ")  # version 2
        if not limit:
            limit = _text(folder / "cpu.cfs_quota_us")
            period = _text(folder / "cpu.cfs_period_us")
        if limit.isdigit() and period.isdigit() and int(period):
            yield int(limit) / int(period)


def _free_of_cgroups() -> Iterator[int]:
    names = (
        ("memory.max", "memory.current"),
        ("memory.limit_in_bytes", "memory.usage_in_bytes"),
    )
    for folder in _folders("memory"):
        for limit_name, used_name in names:
            limit, used = _text(folder / limit_name), _text(folder / used_name)
            if limit.isdigit() and used.isdigit():
                yield int(limit) - int(used) + _file_cache(folder)


def _file_cache(folder: Path) -> int:
    """Return how much of a cgroup's memory is cached files, which make room when it is needed."""
    for line in _text(folder / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name in {"inactive_file", "total_inactive_file"}:
            return int(value)
    return 0


def _free_of_machine() -> Iterator[int]:
    for line in _text(_MEMORY).splitlines():
        name, _, value = line.partition(":")
        if name == "MemAvailable":
            yield int(value.split()[0]) * 1024


def _folders(controller: str) -> Iterator[Path]:
    """Yield the folders of the process's cgroup and of all above it.

    Version 2 has one hierarchy (a line `0::/path`), version 1 one for each controller. A container
    often sees its own cgroup as the root, so the path may lead nowhere.
    """
    for line in _text(_OWN_CGROUP).splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            root = _CGROUPS
        elif controller in controllers.split(","):
            root = _CGROUPS / controller
        else:
            continue
        folder = root / path.strip("/")
        yield from (f for f in (folder, *folder.parents) if f.is_relative_to(root) and f.is_dir())


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
