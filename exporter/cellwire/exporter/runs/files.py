"""Files that are either whole or not there."""

from __future__ import annotations

import os
from pathlib import Path

from cellwire.exporter.errors import FileError


def write_whole(path: Path, data: bytes) -> None:
    """Write `data` to `path` in one step, so that a failure leaves what was there before.

    Raises FileError when the folder is missing, not writable, or full.
    """
    # Beside the target, because a rename is atomic only within one file system.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        try:
            partial.write_bytes(data)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)
    except OSError as error:
        raise FileError(f"{path} cannot be written: {error.strerror}") from error
