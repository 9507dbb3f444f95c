"""Stop strings, found in a text as it grows."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

Stop = tuple[int, ...]


class Stops:
    """The automaton of Aho and Corasick (1975): constant work for a token, however many strings.

    A node is the beginning of a stop string. The automaton is at the longest one that the text ends
    with.
    """

    __slots__ = ("_depth", "_ended", "_fallback", "_next", "_node")

    def __init__(self, stops: Iterable[Stop]) -> None:
        """Begin before the first token. No stop string may be empty."""
        self._next: list[dict[int, int]] = [{}]
        self._depth = [0]
        self._fallback = [0]  # the node of the longest shorter beginning that the text ends with
        self._ended: list[Stop | None] = [None]  # the longest stop string that ends at each node
        self._node = 0
        for stop in stops:
            self._add(stop)
        self._link()

    def _add(self, stop: Stop) -> None:
        node = 0
        for token in stop:
            following = self._next[node].setdefault(token, len(self._next))
            if following == len(self._next):
                self._next.append({})
                self._depth.append(self._depth[node] + 1)
                self._fallback.append(0)
                self._ended.append(None)
            node = following
        self._ended[node] = stop

    def _link(self) -> None:
        """Set the fallbacks, those of shorter beginnings first."""
        nodes = deque(self._next[0].values())
        while nodes:
            node = nodes.popleft()
            self._ended[node] = self._ended[node] or self._ended[self._fallback[node]]
            for token, following in self._next[node].items():
                self._fallback[following] = self._after(self._fallback[node], token)
                nodes.append(following)

    def _after(self, node: int, token: int) -> int:
        while node and token not in self._next[node]:
            node = self._fallback[node]
        return self._next[node].get(token, 0)

    def feed(self, token: int) -> Stop | None:
        """Add a token to the text; return the longest stop string it ends with, if there is one."""
        self._node = self._after(self._node, token)
        return self._ended[self._node]

    @property
    def begun(self) -> int:
        """The number of tokens at the end of the text that may begin a stop string."""
        return self._depth[self._node]
