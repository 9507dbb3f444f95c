"""What a session has read, as far as its client knows."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from cellwire.client.commands.chat.reading import Reading


@dataclass(frozen=True, slots=True)
class Place:
    """A place in a text, and in the session that has read it."""

    length: int
    """How many code points are before it."""
    offset: int
    """How many tokens are before it."""


START = Place(0, 0)
_MAX_PLACES = 4_096
"""More than the tokens that a session can be rewound."""


class Mirror:
    """A session's text, and the places whose offsets the session's answers have named."""

    def __init__(self, reading: Reading) -> None:
        self.text = ""
        self._reading = reading
        self._places = [START]

    @property
    def offset(self) -> int:
        """How many tokens the text has."""
        return self._places[-1].offset

    def added(self, text: str, offset: int, replaced: int = 0) -> None:
        """Note a text that was appended or generated, and the offset of its end.

        replaced tokens were read again with it: places among them are none any more.
        """
        self.text += text
        places = [place for place in self._places if place.offset <= self.offset - replaced]
        self._places = [*places[-_MAX_PLACES:], Place(len(self.text), offset)]

    def rewound(self, place: Place) -> None:
        """Note that the session went back to a place."""
        self.text = self.text[: place.length]
        self._places = [one for one in self._places if one.length < place.length]
        self._places.append(place)

    def missing(self, wanted: str) -> str | None:
        """Return what is missing of a text; None if the session has something else."""
        return wanted[len(self.text) :] if wanted.startswith(self.text) else None

    def place_before(self, wanted: str) -> Place:
        """Return the last place to go back to from where a text that is wanted can be read on."""
        common = common_length(self.text, wanted)
        end = bisect_left(self._places, common + 1, key=lambda place: place.length)
        for place in reversed(self._places[:end]):
            if self._fits(place.length, wanted):
                return place
        return START

    def _fits(self, length: int, wanted: str) -> bool:
        # The offset must be one between two readings, and the rest must be read as in one piece.
        if not self._reading.may_cut(self.text, length):
            return False
        return length == len(wanted) or self._reading.may_cut(wanted, length)


def common_length(one: str, other: str) -> int:
    """Return how many code points two texts have in common at their start."""
    low, high = 0, min(len(one), len(other))
    while low < high:
        middle = (low + high + 1) // 2
        if one[low:middle] == other[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low
