"""Texts from files, and to files."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 16 * 2**20
"""The largest file that is loaded."""


class FileProblem(Exception):
    """A file cannot be read or written; the message says why, and what to do."""


def load(name: str) -> str:
    """Return a file's text, with line feeds as its line ends and without a byte order mark."""
    path = _path(name)
    try:
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise FileProblem(
                f"{path} has {path.stat().st_size / 2**20:.0f} MiB; a chat takes texts of up to "
                f"{MAX_BYTES // 2**20} MiB"
            )
        data = path.read_bytes() if path.is_file() else _refuse(path)
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise FileProblem(
            f"{path} is not UTF-8: byte 0x{error.object[error.start]:02X} at {error.start:,}; "
            f"convert it with: iconv -f ENCODING -t UTF-8"
        ) from None
    except OSError as error:
        raise FileProblem(f"cannot read {path}: {error.strerror or error}") from None
    return with_line_feeds(text)


def save(name: str, text: str) -> None:
    """Write a text to a file, as UTF-8."""
    path = _path(name)
    try:
        path.write_bytes(text.encode())
    except OSError as error:
        raise FileProblem(f"cannot write {path}: {error.strerror or error}") from None


def exists(name: str) -> bool:
    """Whether there is something of this name already."""
    try:
        return bool(name) and _path(name).exists()
    except OSError:
        return False


def with_line_feeds(text: str) -> str:
    """Return a text with line feeds as its line ends."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _path(name: str) -> Path:
    if not name.strip():
        raise FileProblem("a file needs a name")
    if "\0" in name:
        raise FileProblem("a file's name cannot hold U+0000")
    try:
        return Path(name.strip()).expanduser()
    except RuntimeError as error:
        raise FileProblem(str(error)) from None


def _refuse(path: Path) -> bytes:
    if not path.exists():
        raise FileProblem(f"there is no file {path}")
    raise FileProblem(f"{path} is not a regular file")
