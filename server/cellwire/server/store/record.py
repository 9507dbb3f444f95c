"""The seal of every record in a store: the format's version, and a checksum.

A record is known by its place: what it is, of which session, and where in it. The checksum covers
the place, so that a record in another's place is found out, too.

Layout: version (1 byte), CRC-32 of the place and the payload (4 bytes, little-endian), payload.
"""

from __future__ import annotations

import struct
import zlib
from enum import Enum

VERSION = 1

_SEAL = struct.Struct("<BI")
_PLACE = struct.Struct("<Q")
_POSITIONS = 2**64


class Damaged(Exception):
    """A record is not what was written, or cannot be read by this version."""


class Kind(Enum):
    """What a record holds."""

    HEADER = b"h"
    CHANGE = b"c"  # at its revision
    STATE = b"s"
    TEXT = b"t"  # at the offset of its first token
    EXPIRY = b"e"
    CHECKPOINT = b"n"  # at its key
    PLACE = b"p"  # how far a session has come


def seal(kind: Kind, session_id: str, position: int, payload: bytes) -> bytes:
    """Return the record of a payload."""
    return _SEAL.pack(VERSION, _checksum(kind, session_id, position, payload)) + payload


def unseal(kind: Kind, session_id: str, position: int, record: bytes) -> bytes:
    """Return the payload of a record; Damaged."""
    what = f"its {kind.name.lower()} record"
    if not isinstance(record, bytes) or len(record) < _SEAL.size:
        raise Damaged(f"{what} is too short")
    version, checksum = _SEAL.unpack_from(record)
    payload = record[_SEAL.size :]
    # In a damaged file, a position may be anything.
    if not isinstance(position, int) or not 0 <= position < _POSITIONS:
        raise Damaged(f"{what} is nowhere")
    if checksum != _checksum(kind, session_id, position, payload):
        raise Damaged(f"{what} has another checksum than its content")
    if version != VERSION:
        raise Damaged(f"{what} has version {version}, and this daemon reads version {VERSION}")
    return payload


def _checksum(kind: Kind, session_id: str, position: int, payload: bytes) -> int:
    place = kind.value + _PLACE.pack(position) + session_id.encode()
    return zlib.crc32(payload, zlib.crc32(place))
