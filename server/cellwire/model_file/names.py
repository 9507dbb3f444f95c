"""Symbols that are found in a text by their names, the longest first."""

from __future__ import annotations

from collections.abc import Collection, Iterator

import regex

_FEW = 8  # names are looked for one by one, which takes a hundredth of the time


class Names:
    """The names of symbols that a text is searched for."""

    def __init__(self, names: Collection[str]) -> None:
        self._few = tuple(names) if len(names) <= _FEW else ()
        self._longest = max(map(len, names), default=0)
        self._beginnings = {name[:end] for name in names for end in range(1, len(name))}
        self._pattern = regex.compile(r"\L<names>", names=list(names)) if names else None

    def __bool__(self) -> bool:
        return self._pattern is not None

    def appear_in(self, text: str) -> bool:
        """Whether a text may hold a name."""
        if self._few or self._pattern is None:
            return any(name in text for name in self._few)
        return self._pattern.search(text) is not None

    def spans(self, text: str, *, overlapped: bool = False) -> Iterator[tuple[int, int]]:
        """Yield where names start and end; with `overlapped`, also those that begin in others."""
        if self._pattern is not None:
            for match in self._pattern.finditer(text, overlapped=overlapped):
                yield match.span()

    def unfinished(self, text: str) -> list[int]:
        """Return the ascending offsets from which the rest of `text` begins a name."""
        first = max(0, len(text) - self._longest + 1)
        return [start for start in range(first, len(text)) if text[start:] in self._beginnings]
