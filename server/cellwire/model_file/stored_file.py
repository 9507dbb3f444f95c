"""Files read whole: regular ones only, up to a size."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# The graph that is made around a cell is one protobuf message, which has less than 2 GiB.
MAX_MODEL_BYTES = 2**31 - 2**24

_MIB = 2**20
# A pipe must not be waited for; a device or a link must not be followed to somewhere else.
_OPEN = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def read_file(path: Path, max_bytes: int = MAX_MODEL_BYTES, *, links: bool = True) -> bytes:
    """Return a regular file's bytes; ValueError says why it is not read.

    Nothing is read of a file that is too large. `links` says whether the file may be a link.
    """
    if not links and path.is_symlink():
        raise ValueError("is a symbolic link; put the file itself there")
    try:
        with os.fdopen(os.open(path, _OPEN if links else _OPEN | _NO_LINK), "rb") as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise ValueError("is not a regular file")
            if status.st_size > max_bytes:
                raise ValueError(
                    f"has {status.st_size / _MIB:,.0f} MiB; "
                    f"a model has at most {MAX_MODEL_BYTES // _MIB:,} MiB in all"
                )
            return file.read(max_bytes)
    except OSError as error:
        raise ValueError(error.strerror or "cannot be read") from error
