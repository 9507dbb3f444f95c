"""Stop strings, found in a text as it grows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

Stop = tuple[int, ...]


class Stops:
    """A matcher for each stop string. Only those that the text may be in the middle of do any work.

    Nothing is prepared when a generation starts: a matcher learns of its string as much as the text
    has matched. Stop strings without end therefore cost the engine no more than short ones.
    """

    __slots__ = ("_begun", "_by_first")

    def __init__(self, stops: Iterable[Stop]) -> None:
        """Begin before the first token. No stop string may be empty."""
        self._by_first = defaultdict[int, list[_Matcher]](list)
        for stop in stops:
            self._by_first[stop[0]].append(_Matcher(stop))
        self._begun: list[_Matcher] = []  # those whose first tokens the text ends with

    def feed(self, token: int) -> Stop | None:
        """Add a token to the text; return the longest stop string it ends with, if there is one."""
        if self._begun:
            self._begun = [matcher for matcher in self._begun if matcher.feed(token)]
        if token in self._by_first:
            for matcher in self._by_first[token]:
                if not matcher.matched:
                    matcher.matched = 1
                    self._begun.append(matcher)
        if not self._begun:
            return None
        ended = [matcher.stop for matcher in self._begun if matcher.matched == len(matcher.stop)]
        return max(ended, key=len) if ended else None

    @property
    def begun(self) -> int:
        """The number of tokens at the end of the text that may begin a stop string."""
        if not self._begun:
            return 0
        return max([matcher.matched for matcher in self._begun])


class _Matcher:
    """The longest beginning of one stop string that a text ends with.

    The algorithm of Knuth, Morris and Pratt (1977): the work for a token is constant on the
    average, whatever the string and the text.
    """

    __slots__ = ("_shorter", "matched", "stop")

    def __init__(self, stop: Stop) -> None:
        self.stop = stop
        self.matched = 0  # tokens
        # By length: the next shorter beginning that ends as the beginning of that length does.
        self._shorter = [0, 0]

    def feed(self, token: int) -> int:
        """Add a token to the text; return the new length."""
        stop, matched = self.stop, self.matched
        if matched == len(stop):
            matched = self._shorter_than(matched)
        while matched and stop[matched] != token:
            matched = self._shorter_than(matched)
        self.matched = matched + 1 if stop[matched] == token else 0
        return self.matched

    def _shorter_than(self, length: int) -> int:
        """Return the next shorter beginning; work it out up to there, each length once."""
        stop, shorter = self.stop, self._shorter
        while len(shorter) <= length:
            token = stop[len(shorter) - 1]
            candidate = shorter[-1]
            while candidate and stop[candidate] != token:
                candidate = shorter[candidate]
            shorter.append(candidate + (stop[candidate] == token))
        return shorter[length]
