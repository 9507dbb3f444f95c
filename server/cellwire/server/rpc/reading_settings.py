"""The settings and the seed of a session, from the contract's messages."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from cellwire.model_file.vocabulary import Unknown
from cellwire.server.errors import InvalidArgument
from cellwire.server.host.settings import (
    Durability,
    OnDisconnect,
    Settings,
    check_session_id,
    new_seed,
    new_session_id,
)
from cellwire.v1 import operations_pb2
from cellwire.v1.operations_pb2 import Fork, Open
from cellwire.v1.sessions_pb2 import ForkSessionRequest, ImportSessionRequest

_UNKNOWN_SYMBOLS: dict[int, Unknown] = {
    operations_pb2.UNKNOWN_SYMBOLS_UNSPECIFIED: Unknown.REJECT,
    operations_pb2.UNKNOWN_SYMBOLS_REJECT: Unknown.REJECT,
    operations_pb2.UNKNOWN_SYMBOLS_SKIP: Unknown.SKIP,
    operations_pb2.UNKNOWN_SYMBOLS_REPLACE: Unknown.REPLACE,
}

_ON_DISCONNECT: dict[int, OnDisconnect] = {
    operations_pb2.ON_DISCONNECT_DELETE: OnDisconnect.DELETE,
    operations_pb2.ON_DISCONNECT_CANCEL: OnDisconnect.CANCEL,
    operations_pb2.ON_DISCONNECT_PAUSE: OnDisconnect.PAUSE,
    operations_pb2.ON_DISCONNECT_CONTINUE: OnDisconnect.CONTINUE,
}

_DURABILITY: dict[int, Durability] = {
    operations_pb2.DURABILITY_UNSPECIFIED: Durability.NONE,
    operations_pb2.DURABILITY_NONE: Durability.NONE,
    operations_pb2.DURABILITY_SAFE_LATER: Durability.SAFE_LATER,
    operations_pb2.DURABILITY_SAFE_FIRST: Durability.SAFE_FIRST,
}

_NANOS_PER_S = 1e9

E = TypeVar("E", bound=Enum)


def read_settings(message: Open) -> Settings:
    """Return the settings of a session to open; InvalidArgument if one is out of range."""
    durability = read_durability(message)
    defaults = Settings.default_of(durability)
    window, timeout_s = defaults.rewind_window, defaults.idle_timeout_s
    if message.HasField("rewind_window"):
        window = message.rewind_window
    if message.HasField("idle_timeout"):
        timeout_s = message.idle_timeout.seconds + message.idle_timeout.nanos / _NANOS_PER_S
    return Settings(
        rewind_window=window,
        unknown_symbols=_read("unknown_symbols", message.unknown_symbols, _UNKNOWN_SYMBOLS),
        on_disconnect=_read_on_disconnect(message.on_disconnect, defaults),
        idle_timeout_s=timeout_s,
        durability=durability,
    )


def read_durability(message: Open | ImportSessionRequest) -> Durability:
    """Return the durability in a message; InvalidArgument if it is unknown."""
    return _read("durability", message.durability, _DURABILITY)


def _read_on_disconnect(number: int, defaults: Settings) -> OnDisconnect:
    if number == operations_pb2.ON_DISCONNECT_UNSPECIFIED:
        return defaults.on_disconnect
    return _read("on_disconnect", number, _ON_DISCONNECT)


def _read(field: str, number: int, values: Mapping[int, E]) -> E:
    if number not in values:
        known = ", ".join(map(str, values))
        raise InvalidArgument(
            f"{field} {number} is not known to this daemon; it knows {known}", field=field
        )
    return values[number]


def read_seed(message: Open | Fork | ForkSessionRequest) -> int:
    """Return the seed in a message, or a new one."""
    return message.seed if message.HasField("seed") else new_seed()


def read_new_id(message: Open | Fork | ForkSessionRequest | ImportSessionRequest) -> str:
    """Return the id that a client has chosen for a new session; InvalidArgument if it is none.

    Without one, a new id.
    """
    field = "new_session_id" if isinstance(message, ForkSessionRequest) else "session_id"
    if not message.HasField(field):  # type: ignore[arg-type]  # the field is that of the message
        return new_session_id()
    session_id: str = getattr(message, field)
    check_session_id(session_id, field)
    return session_id
