"""The settings of a session, apart from its model and its seed."""

from __future__ import annotations

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import Enum

from cellwire.model_file.vocabulary import MAX_REREAD_TOKENS, Unknown, Vocabulary
from cellwire.server.batch.limits import (
    DEFAULT_DURABLE_IDLE_TIMEOUT_S,
    DEFAULT_IDLE_TIMEOUT_S,
    DEFAULT_REWIND_WINDOW,
    MAX_DURABLE_IDLE_TIMEOUT_S,
    MAX_IDLE_TIMEOUT_S,
    MAX_REWIND_WINDOW,
    MIN_IDLE_TIMEOUT_S,
    SESSION_ID_DIGITS,
)
from cellwire.server.errors import InvalidArgument

_SESSION_ID = re.compile(f"[0-9a-f]{{{SESSION_ID_DIGITS}}}")
_SEED_BITS = 53  # of the seeds drawn here: a double holds them exactly


class OnDisconnect(Enum):
    """What happens to a session when its stream breaks."""

    DELETE = "delete"
    CANCEL = "cancel"
    PAUSE = "pause"
    CONTINUE = "continue"


class Durability(Enum):
    """Whether a session is kept in the daemon's store, and what its answers wait for."""

    NONE = "none"
    SAFE_LATER = "safe_later"
    SAFE_FIRST = "safe_first"


@dataclass(frozen=True, slots=True)
class Settings:
    """The settings of a session, checked; InvalidArgument names the first that is out of range."""

    rewind_window: int = DEFAULT_REWIND_WINDOW  # tokens
    unknown_symbols: Unknown = Unknown.REJECT
    on_disconnect: OnDisconnect = OnDisconnect.DELETE
    idle_timeout_s: float = DEFAULT_IDLE_TIMEOUT_S
    durability: Durability = Durability.NONE

    def __post_init__(self) -> None:
        _check("rewind_window", self.rewind_window, 0, MAX_REWIND_WINDOW)
        most_s = MAX_DURABLE_IDLE_TIMEOUT_S if self.durable else MAX_IDLE_TIMEOUT_S
        _check("idle_timeout", self.idle_timeout_s, MIN_IDLE_TIMEOUT_S, most_s, " s")

    @property
    def durable(self) -> bool:
        """Whether the session outlives the daemon."""
        return self.durability is not Durability.NONE

    @staticmethod
    def default_of(durability: Durability) -> Settings:
        """Return what holds where a client says nothing: a durable session waits for its client."""
        if durability is Durability.NONE:
            return Settings()
        return Settings(
            on_disconnect=OnDisconnect.PAUSE,
            idle_timeout_s=DEFAULT_DURABLE_IDLE_TIMEOUT_S,
            durability=durability,
        )

    def with_durability(self, durability: Durability) -> Settings:
        """Return the settings of a session that is as durable as that, and kept as long as it may.

        What becomes durable is kept as long as durable sessions are by default, at least.
        """
        timeout_s = self.idle_timeout_s
        if durability is Durability.NONE:
            timeout_s = min(timeout_s, MAX_IDLE_TIMEOUT_S)
        elif not self.durable:
            timeout_s = max(timeout_s, DEFAULT_DURABLE_IDLE_TIMEOUT_S)
        return replace(self, idle_timeout_s=timeout_s, durability=durability)

    def fitted_to(self, vocabulary: Vocabulary) -> Settings:
        """Return the settings as a model with this vocabulary follows them.

        It needs a rewind window if it reads the ends of texts again. InvalidArgument if it cannot
        follow them.
        """
        if self.unknown_symbols is Unknown.REPLACE and vocabulary.unknown_token is None:
            raise InvalidArgument(
                "the model has no symbol to put in the place of unknown ones",
                field="unknown_symbols",
            )
        window = MAX_REREAD_TOKENS if vocabulary.rereads else 0
        return replace(self, rewind_window=max(window, self.rewind_window))

    def stored(self) -> dict[str, str | float]:
        """Return the settings by name, as a snapshot stores them.

        The rewind window is left out: the session's own snapshot has it.
        """
        return {
            "unknown_symbols": self.unknown_symbols.value,
            "on_disconnect": self.on_disconnect.value,
            "idle_timeout_s": self.idle_timeout_s,
            "durability": self.durability.value,
        }

    @staticmethod
    def restored(stored: Mapping[str, str | float], rewind_window: int) -> Settings:
        """Return the settings that `stored` returned; InvalidArgument if they are none."""
        try:
            return Settings(
                rewind_window=rewind_window,
                unknown_symbols=Unknown(stored["unknown_symbols"]),
                on_disconnect=OnDisconnect(stored["on_disconnect"]),
                idle_timeout_s=float(stored["idle_timeout_s"]),
                durability=Durability(stored.get("durability", Durability.NONE.value)),
            )
        except (KeyError, ValueError) as error:
            raise InvalidArgument(f"the settings are not those of a session: {error}") from error


def _check(name: str, value: float, least: float, most: float, unit: str = "") -> None:
    if not least <= value <= most:
        raise InvalidArgument(
            f"{name} is {value}{unit}; it must be from {least} to {most:,}{unit}", field=name
        )


def check_session_id(session_id: str, field: str) -> None:
    """Raise InvalidArgument for an id that no client may choose."""
    if _SESSION_ID.fullmatch(session_id) is None:
        raise InvalidArgument(
            f"{field} {session_id[: 2 * SESSION_ID_DIGITS]!r} is no id; an id has "
            f"{SESSION_ID_DIGITS} hexadecimal digits in lower case: take 128 random bits",
            field=field,
        )


def new_session_id() -> str:
    """Return 128 random bits in hexadecimal."""
    return secrets.token_hex(16)


def new_seed() -> int:
    """Return a random seed below 2**53."""
    return secrets.randbits(_SEED_BITS)
