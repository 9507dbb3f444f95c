"""The address of a store's server."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def without_password(url: str) -> str:
    """Return a server's address as people may see it: without user, password and options."""
    parts = urlsplit(url)
    _, at, place = parts.netloc.rpartition("@")
    return urlunsplit((parts.scheme, f"...@{place}" if at else place, parts.path, "", ""))
