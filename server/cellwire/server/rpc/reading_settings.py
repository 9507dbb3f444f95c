"""The settings and the seed of a session, from the contract's messages."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import TypeVar

from cellwire.model_file.vocabulary import Unknown
from cellwire.server.errors import InvalidArgument
from cellwire.server.host.settings import OnDisconnect, Settings, new_seed
from cellwire.v1 import operations_pb2
from cellwire.v1.operations_pb2 import Fork, Open
from cellwire.v1.sessions_pb2 import ForkSessionRequest

_UNKNOWN_SYMBOLS: dict[int, Unknown] = {
    operations_pb2.UNKNOWN_SYMBOLS_UNSPECIFIED: Unknown.REJECT,
    operations_pb2.UNKNOWN_SYMBOLS_REJECT: Unknown.REJECT,
    operations_pb2.UNKNOWN_SYMBOLS_SKIP: Unknown.SKIP,
    operations_pb2.UNKNOWN_SYMBOLS_REPLACE: Unknown.REPLACE,
}

_ON_DISCONNECT: dict[int, OnDisconnect] = {
    operations_pb2.ON_DISCONNECT_UNSPECIFIED: OnDisconnect.DELETE,
    operations_pb2.ON_DISCONNECT_DELETE: OnDisconnect.DELETE,
    operations_pb2.ON_DISCONNECT_CANCEL: OnDisconnect.CANCEL,
    operations_pb2.ON_DISCONNECT_PAUSE: OnDisconnect.PAUSE,
    operations_pb2.ON_DISCONNECT_CONTINUE: OnDisconnect.CONTINUE,
}

_NANOS_PER_S = 1e9

E = TypeVar("E", bound=Enum)


def read_settings(message: Open) -> Settings:
    """Return the settings of a session to open; InvalidArgument if one is out of range."""
    defaults = Settings()
    window, timeout_s = defaults.rewind_window, defaults.idle_timeout_s
    if message.HasField("rewind_window"):
        window = message.rewind_window
    if message.HasField("idle_timeout"):
        timeout_s = message.idle_timeout.seconds + message.idle_timeout.nanos / _NANOS_PER_S
    return Settings(
        rewind_window=window,
        unknown_symbols=_read("unknown_symbols", message.unknown_symbols, _UNKNOWN_SYMBOLS),
        on_disconnect=_read("on_disconnect", message.on_disconnect, _ON_DISCONNECT),
        idle_timeout_s=timeout_s,
    )


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
