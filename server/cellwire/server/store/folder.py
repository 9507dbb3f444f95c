"""The folder that a store lives in: whether it can, and that no other daemon uses it."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import sys
from pathlib import Path
from typing import IO

from cellwire.server.errors import CannotOpenStore, StoreInUse

if sys.platform != "win32":
    import fcntl

_LOCK = "lock"
# fmt: off
_NETWORK = frozenset((
    "9p", "afs", "beegfs", "ceph", "cifs", "davfs", "gfs2", "glusterfs", "lustre", "nfs", "nfs4",
    "ocfs2", "orangefs", "smb3", "smbfs", "virtiofs",
))
# fmt: on
_OCTAL = re.compile(r"\\([0-7]{3})")  # blanks in the list of mounts


def make_folder(folder: Path) -> None:
    """Make a folder that nobody else may read, if it is not there; CannotOpenStore."""
    missing = [place for place in (folder, *folder.parents) if not place.exists()]
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise CannotOpenStore(
            f"the state folder {folder} cannot be made: {error.strerror}; give --state a folder "
            "that this daemon may write"
        ) from error
    for place in missing:
        sync_folder(place.parent)


def network_file_system(folder: Path, mounts: Path = Path("/proc/mounts")) -> str:
    """Return the type of the network's file system that a folder is on; "" if it is on none.

    Unknown where there is no list of mounts, on macOS for example: then "", too.
    """
    try:
        lines = mounts.read_text(errors="replace").splitlines()
    except OSError:
        return ""
    place = folder.resolve()
    found = ""
    deepest = -1
    for line in lines:
        _, point, kind, *_ = line.split(" ")
        mounted = Path(_OCTAL.sub(lambda digits: chr(int(digits[1], 8)), point))
        # A later mount at the same point hides the one before.
        if place.is_relative_to(mounted) and len(mounted.parts) >= deepest:
            found, deepest = kind, len(mounted.parts)
    return found if found in _NETWORK or found.startswith("fuse.") else ""


class FolderLock:
    """Held by the one daemon that uses a folder. The system frees it when the process ends."""

    def __init__(self, folder: Path) -> None:
        """Take the lock; StoreInUse if another process has it, or CannotOpenStore."""
        self._folder = folder
        self._file: IO[str] | None = None
        try:
            file = (folder / _LOCK).open("a+")
        except OSError as error:
            raise CannotOpenStore(
                f"the state folder {folder} cannot be used: {error.strerror}; give --state a "
                "folder that this daemon may write"
            ) from error
        try:
            _lock(file)
        except OSError as error:
            file.seek(0)
            holder = file.read(200).strip() or "another process"
            file.close()
            raise StoreInUse(folder, holder) from error
        self._file = file
        with contextlib.suppress(OSError):  # a full disk: the name is for people only
            file.truncate(0)
            file.write(f"process {os.getpid()} on {platform.node()}")
            file.flush()

    def release(self) -> None:
        """Let others use the folder."""
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.truncate(0)
            self._file.close()
        self._file = None


def _lock(file: IO[str]) -> None:
    # On Windows, SQLite's own locks are all there is.
    if sys.platform != "win32":
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def sync_folder(folder: Path) -> None:
    """Make the names of a folder's files safe, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
