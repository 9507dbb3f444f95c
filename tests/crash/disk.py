"""A disk that can be full: a small file system of its own where mounting is allowed, or a limit."""

from __future__ import annotations

import contextlib
import resource
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

_SIZE = "16m"
_FILLING = 64 * 1024  # bytes at a time


class Disk(Protocol):
    """Where a daemon keeps its folder."""

    folder: Path

    def fill(self, process: int) -> None:
        """Leave no room for what a process writes."""

    def free(self, process: int) -> None:
        """Give it room again."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Disk]:
    """Make a disk in an empty folder."""
    folder.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
    if mount is None or umount is None or subprocess.run(command, check=False).returncode:
        yield LimitedFiles(folder)
        return
    try:
        yield FileSystem(folder)
    finally:
        subprocess.run([umount, "--lazy", str(folder)], check=False)


class FileSystem:
    """A file system that a large file fills."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._filler = folder / "filler"

    def fill(self, process: int) -> None:
        del process
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while file.write(bytes(_FILLING)) == _FILLING:
                pass

    def free(self, process: int) -> None:
        del process
        self._filler.unlink(missing_ok=True)


class LimitedFiles:
    """A limit on the size of the files that a process writes, which fails its writes likewise."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def fill(self, process: int) -> None:
        self._limit(process, 0)

    def free(self, process: int) -> None:
        self._limit(process, resource.RLIM_INFINITY)

    def _limit(self, process: int, soft: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            limits = (soft, resource.RLIM_INFINITY)
            resource.prlimit(process, resource.RLIMIT_FSIZE, limits)
