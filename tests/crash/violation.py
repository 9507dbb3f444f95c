"""What a check finds."""

from __future__ import annotations


class Violation(AssertionError):
    """A daemon has broken a promise of the contract."""


def check(holds: bool, message: str) -> None:  # noqa: FBT001  # reads as an assert
    """Raise Violation unless something holds."""
    if not holds:
        raise Violation(message)
