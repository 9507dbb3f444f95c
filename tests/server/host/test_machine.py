"""Processors and memory: the machine's, or the container's if that has fewer."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cellwire.server.host import machine

GIB = 2**30


class Files:
    """The files in which Linux tells a process its limits."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        monkeypatch.setattr(machine, "_CGROUPS", folder / "cgroup")
        monkeypatch.setattr(machine, "_OWN_CGROUP", folder / "own")
        monkeypatch.setattr(machine, "_MEMORY", folder / "meminfo")
        if hasattr(os, "sched_getaffinity"):
            monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Files:
    return Files(tmp_path, monkeypatch)


def test_without_limits_all_is_the_machines(files: Files) -> None:
    assert machine.cores() == 8
    assert machine.free_memory_bytes() is None  # as on systems that do not say
    files.write("meminfo", "MemTotal:  9 kB\nMemAvailable:    4194304 kB\n")
    assert machine.free_memory_bytes() == 4 * GIB


def test_limits_of_version_2(files: Files) -> None:
    files.write("meminfo", "MemAvailable:    8388608 kB\n")
    files.write("own", "0::/box/inner\n")
    files.write("cgroup/box/cpu.max", "250000 100000\n")
    files.write("cgroup/box/inner/cpu.max", "max 100000\n")
    files.write("cgroup/box/inner/memory.max", f"{3 * GIB}\n")
    files.write("cgroup/box/inner/memory.current", f"{2 * GIB}\n")
    files.write("cgroup/box/inner/memory.stat", f"anon 5\ninactive_file {GIB // 2}\n")
    files.write("cgroup/memory.max", "max\n")
    assert machine.cores() == 2
    assert machine.free_memory_bytes() == GIB + GIB // 2


def test_limits_of_version_1_seen_from_within_a_container(files: Files) -> None:
    files.write("meminfo", "MemAvailable:    8388608 kB\n")
    files.write("own", "4:memory:/docker/abc\n1:cpu,cpuacct:/docker/abc\n0::/\n")
    files.write("cgroup/cpu/cpu.cfs_quota_us", "50000\n")
    files.write("cgroup/cpu/cpu.cfs_period_us", "100000\n")
    files.write("cgroup/memory/memory.limit_in_bytes", f"{GIB}\n")
    files.write("cgroup/memory/memory.usage_in_bytes", f"{2 * GIB}\n")
    assert machine.cores() == 1  # half a core
    assert machine.free_memory_bytes() == 0


def test_no_quota_in_version_1(files: Files) -> None:
    files.write("own", "1:cpu:/\n")
    files.write("cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    files.write("cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert machine.cores() == 8
