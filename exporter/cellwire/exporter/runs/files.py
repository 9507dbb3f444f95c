"""Atomic writing of files."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from cellwire.exporter.errors import FileError

_PARTIAL = ".partial"


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to `path`; a failure leaves the old file in place.

    FileError if the folder is missing, not writable, or full.
    """
    # Beside the target: a rename is atomic only within one file system.
    partial = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error


def remove_partial_files(folder: Path) -> None:
    """Remove what writes left in a folder that were killed; no other process may write there."""
    for path in folder.glob(f".*{_PARTIAL}"):
        with suppress(OSError):
            path.unlink()
