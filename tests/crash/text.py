"""Texts of which some characters may not be known: they were generated, and lost on the way."""

from __future__ import annotations

UNKNOWN = "\0"
_SHOWN = 30


def agrees(known: str, text: str) -> bool:
    """Whether a text can be the one that is known in part."""
    return len(known) == len(text) and (known == text or _differs_at(known, text) is None)


def merged(one: str, other: str) -> str:
    """Return what is known of a text from two sources that agree, as long as the longer one."""
    short, long = sorted((one, other), key=len)
    if UNKNOWN not in long[: len(short)]:
        return long
    pairs = zip(short, long, strict=False)
    return "".join(a if b == UNKNOWN else b for a, b in pairs) + long[len(short) :]


def begins_alike(one: str, other: str) -> bool:
    """Whether two texts agree as far as the shorter one goes."""
    shorter = min(len(one), len(other))
    return agrees(one[:shorter], other[:shorter])


def difference(known: str, text: str) -> str:
    """Say for people where a text is not what it must be."""
    at = _differs_at(known, text)
    if at is None:
        return f"{len(text)} characters instead of {len(known)}"
    start = max(0, at - _SHOWN // 2)
    return f"at {at}: {text[start : at + _SHOWN]!r} instead of {known[start : at + _SHOWN]!r}"


def _differs_at(known: str, text: str) -> int | None:
    pairs = enumerate(zip(known, text, strict=False))
    return next((at for at, (a, b) in pairs if a != b and UNKNOWN not in {a, b}), None)
