"""What the open of a session asked for."""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass

from cellwire.model_file.vocabulary import Unknown, Vocabulary
from cellwire.server.errors import InvalidArgument
from cellwire.server.state.rewind_window import DEFAULT_WINDOW, MAX_WINDOW
from cellwire.v1 import operations_pb2
from cellwire.v1.operations_pb2 import OnDisconnect, UnknownSymbols

_DEFAULT_IDLE_TIMEOUT_S = 600
_MAX_IDLE_TIMEOUT_S = 7 * 24 * 3600

_UNKNOWN: dict[int, Unknown] = {
    UnknownSymbols.UNKNOWN_SYMBOLS_UNSPECIFIED: Unknown.REJECT,
    UnknownSymbols.UNKNOWN_SYMBOLS_REJECT: Unknown.REJECT,
    UnknownSymbols.UNKNOWN_SYMBOLS_SKIP: Unknown.SKIP,
    UnknownSymbols.UNKNOWN_SYMBOLS_REPLACE: Unknown.REPLACE,
}


@dataclass(frozen=True, slots=True)
class Settings:
    """A session's settings, but for model and seed; numbers of the contract's enums."""

    rewind_window: int
    unknown_symbols: int
    on_disconnect: int
    idle_timeout_s: int

    @property
    def unknown(self) -> Unknown:
        """What to do with unknown symbols."""
        return _UNKNOWN[self.unknown_symbols]

    def as_numbers(self) -> dict[str, int]:
        """Return the settings for a snapshot, whose session has the rewind window."""
        return {name: n for name, n in asdict(self).items() if name != "rewind_window"}


def settings_of(message: operations_pb2.Open, vocabulary: Vocabulary) -> Settings:
    """Return what an open asks for; InvalidRequest says what is wrong with it."""
    window = message.rewind_window if message.HasField("rewind_window") else DEFAULT_WINDOW
    numbers = {
        "rewind_window": window,
        "unknown_symbols": message.unknown_symbols,
        "on_disconnect": message.on_disconnect,
        "idle_timeout_s": message.idle_timeout_s or _DEFAULT_IDLE_TIMEOUT_S,
    }
    return settings_from(numbers, vocabulary)


def settings_from(numbers: dict[str, int], vocabulary: Vocabulary) -> Settings:
    """Return settings that came as numbers; InvalidRequest says what is wrong with them."""
    try:
        settings = Settings(**numbers)
    except TypeError as error:
        raise InvalidArgument(f"the settings are not those of a session: {error}") from error
    _check("rewind_window", settings.rewind_window, 0, MAX_WINDOW)
    _check("idle_timeout_s", settings.idle_timeout_s, 1, _MAX_IDLE_TIMEOUT_S)
    if settings.unknown_symbols not in _UNKNOWN:
        raise InvalidArgument(f"unknown_symbols {settings.unknown_symbols} is not known here")
    if settings.on_disconnect not in OnDisconnect.values():
        raise InvalidArgument(f"on_disconnect {settings.on_disconnect} is not known here")
    if settings.unknown is Unknown.REPLACE and vocabulary.unknown_token is None:
        raise InvalidArgument("the model has no symbol to put in the place of unknown ones")
    return settings


def _check(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidArgument(f"{name} is {value}; it must be from {least} to {most:,}")


def new_session_id() -> str:
    """Return 128 random bits in hexadecimal."""
    return secrets.token_hex(16)


def seed_of(message: operations_pb2.Open | operations_pb2.Fork) -> int:
    """Return the seed that a message asks for, or a random one."""
    return message.seed if message.HasField("seed") else secrets.randbits(64)
