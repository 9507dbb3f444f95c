"""What a session can be asked to do; each is carried out one step at a time.

Operations compare by identity: two that ask for the same are still two.
"""

from __future__ import annotations

from dataclasses import dataclass

from cellwire.server.errors import InvalidRequest
from cellwire.server.sampling import Sampling
from cellwire.server.vocabulary import Tokens

MAX_APPEND_CHARS = 1_000_000
MAX_GENERATE_CHARS = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Append:
    """Add tokens to the session."""

    id: int
    tokens: Tokens  # [n], n >= 1

    @property
    def waiting_chars(self) -> int:
        """How much text is kept while the operation waits."""
        return len(self.tokens)


@dataclass(frozen=True, slots=True, eq=False)
class Generate:
    """Let the model go on."""

    id: int
    max_chars: int
    sampling: Sampling
    log_probabilities: bool = False  # whether the caller wants to see them

    def __post_init__(self) -> None:
        if not 1 <= self.max_chars <= MAX_GENERATE_CHARS:
            raise InvalidRequest(
                f"max_chars is {self.max_chars}; it must be from 1 to {MAX_GENERATE_CHARS:,}"
            )

    @property
    def waiting_chars(self) -> int:
        """How much text is kept while the operation waits."""
        return 0


@dataclass(frozen=True, slots=True, eq=False)
class Close:
    """End the session when all before this is done."""

    id: int | None  # None if it stands for the end of the client's stream

    @property
    def waiting_chars(self) -> int:
        """How much text is kept while the operation waits."""
        return 0


Operation = Append | Generate | Close
