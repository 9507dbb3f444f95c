"""The id of a session, and how a call names it to the proxies on its way."""

from __future__ import annotations

import secrets

METADATA_KEY = "x-session-id"
"""Of each call about a session: a proxy that hashes its value sends them all to one daemon."""


def new_session_id() -> str:
    """Return 128 random bits as 32 hexadecimal digits."""
    return secrets.token_hex(16)


def metadata_of(session_id: str) -> tuple[tuple[str, str], ...]:
    """Return a call's metadata; none for what no daemon would take as an id."""
    fit = session_id.isascii() and session_id.isprintable()
    return ((METADATA_KEY, session_id),) if fit else ()
