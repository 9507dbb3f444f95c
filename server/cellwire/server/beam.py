"""Beam search: hypotheses, and the slots their states are in.

A hypothesis is a continuation, and its state is the one before its last token, like a session's.
Each step reads every hypothesis' last token, which gives one written slot a hypothesis and the
likeliest tokens after it; the best of all these extensions are the next hypotheses. Children of one
parent share the slot the parent wrote, until each writes its own.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from heapq import merge, nsmallest
from itertools import chain, islice
from typing import NamedTuple

from cellwire.server.arena import Arena
from cellwire.server.events import Completion
from cellwire.server.operations import Complete
from cellwire.server.row import Outcome, Row


class _Extension(NamedTuple):
    """A hypothesis and a token; these sort by likelihood, and equally likely ones by their text."""

    improbability: float
    rank: int  # of the hypothesis' text among those of all hypotheses
    token: int
    parent: int  # which hypothesis
    place: int  # of the token among those after the hypothesis, the likeliest first


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """A continuation that may go on."""

    tokens: tuple[int, ...]
    log_probability: float
    slot: int | None  # of the state before its last token; None for the text's own state
    greedy: bool  # whether every token was the likeliest


class Beam:
    """The search for the best continuations of one text.

    It follows the `beam_width` likeliest hypotheses, and the greedy one in any case, so that what
    it finds never ranks below greedy choice.
    """

    def __init__(self, arena: Arena, complete: Complete) -> None:
        """Begin with the empty continuation; Full if there is no room for the beam's states."""
        self._arena = arena
        self._complete = complete
        self._reserved = 2 * (complete.beam_width + 1)
        arena.reserve(self._reserved)
        self._alive = [Hypothesis((), 0.0, slot=None, greedy=True)]
        self._ended: list[Completion] = []
        self._own: set[int] = set()  # slots
        self._writing: list[int] = []

    @property
    def width(self) -> int:
        """How many hypotheses it follows at the moment."""
        return len(self._alive)

    @property
    def done(self) -> bool:
        """Whether nothing that may still come would be among the results."""
        if not self._alive:
            return True
        if len(self._ended) < self._complete.completions:
            return False
        # No token makes a text likelier; at best the length still grows to where it must end.
        likeliest = max(hypothesis.log_probability for hypothesis in self._alive)
        return self._rank(self._ended[-1]) > self._ranked(likeliest, self._complete.max_chars)

    def rows(self, last_token: int, text_slot: int) -> list[Row]:
        """Return a row for each hypothesis.

        `last_token` is that of the text they go on from, `text_slot` where the state before it is.
        """
        self._writing = [self._arena.allocate() for _ in self._alive]
        self._own.update(self._writing)
        best = 2 * self._complete.beam_width
        return [
            Row(last_token, text_slot, slot, forced=(0,), best=best)
            if h.slot is None
            else Row(h.tokens[-1], h.slot, slot, forced=(0,), best=best)
            for h, slot in zip(self._alive, self._writing, strict=True)
        ]

    def commit(self, outcomes: list[Outcome]) -> None:
        """Take the best of all extensions as the next hypotheses."""
        # Those that end now have the same length, so no more of them can be among the results.
        ended = nsmallest(self._complete.completions, chain(*self._extensions(outcomes, ends=True)))
        self._ended = self._best([*self._ended, *map(self._completion, map(self._grown, ended))])
        going_on = merge(*self._extensions(outcomes, ends=False))
        best = list(islice(going_on, self._complete.beam_width))
        greedy = [e for e in self._greedy(outcomes) if e not in best]
        self._alive = [self._grown(e) for e in (*best, *greedy)]
        self._keep({h.slot for h in self._alive if h.slot is not None})

    def _extensions(self, outcomes: list[Outcome], *, ends: bool) -> list[Iterator[_Extension]]:
        """Return each hypothesis' extensions that end or do not, the likeliest first."""
        by_text = sorted(range(len(self._alive)), key=lambda parent: self._alive[parent].tokens)
        return [
            self._extensions_of(parent, rank, outcomes[parent], ends=ends)
            for rank, parent in enumerate(by_text)
        ]

    def _greedy(self, outcomes: list[Outcome]) -> list[_Extension]:
        """Return the greedy hypothesis' likeliest extension, unless it ends there."""
        return [
            extension
            for extensions in self._extensions(outcomes, ends=False)
            for extension in islice(extensions, 1)
            if self._is_greedy(extension)
        ]

    def _extensions_of(
        self, parent: int, rank: int, outcome: Outcome, *, ends: bool
    ) -> Iterator[_Extension]:
        hypothesis = self._alive[parent]
        before = hypothesis.tokens[-1] if hypothesis.tokens else None
        must_end = len(hypothesis.tokens) + 1 == self._complete.max_chars
        ending = self._complete.ending
        if ends and not (must_end or ending.tokens):
            return
        for place, (token, log_probability) in enumerate(outcome.best):
            if (must_end or ending.ends(before, token)) == ends:
                total = hypothesis.log_probability + log_probability
                yield _Extension(-total, rank, token, parent, place)

    def _is_greedy(self, extension: _Extension) -> bool:
        return extension.place == 0 and self._alive[extension.parent].greedy

    def _grown(self, extension: _Extension) -> Hypothesis:
        """Return an extension as a hypothesis."""
        parent = self._alive[extension.parent]
        return Hypothesis(
            (*parent.tokens, extension.token),
            -extension.improbability,
            self._writing[extension.parent],
            self._is_greedy(extension),
        )

    def _ends(self, hypothesis: Hypothesis) -> bool:
        before = hypothesis.tokens[-2] if len(hypothesis.tokens) > 1 else None
        return self._complete.ending.ends(before, hypothesis.tokens[-1])

    def _must_end(self, hypothesis: Hypothesis) -> bool:
        return len(hypothesis.tokens) == self._complete.max_chars

    def _completion(self, hypothesis: Hypothesis) -> Completion:
        ended = self._ends(hypothesis) or (
            self._must_end(hypothesis) and not self._complete.ending.tokens
        )
        return Completion(hypothesis.tokens, hypothesis.log_probability, ended)

    def _rank(self, completion: Completion) -> float:
        return self._ranked(completion.log_probability, len(completion.tokens))

    def _ranked(self, log_probability: float, length: int) -> float:
        return log_probability / math.pow(length, self._complete.length_penalty)

    def _best(self, completions: Iterable[Completion]) -> list[Completion]:
        ranked = sorted(completions, key=lambda c: (-self._rank(c), c.tokens))
        return ranked[: self._complete.completions]

    def results(self) -> tuple[Completion, ...]:
        """Return the best completions, the best first; before the end, the best so far."""
        unfinished = [self._completion(h) for h in self._alive if h.tokens]
        return tuple(self._best(self._ended if self.done else [*self._ended, *unfinished]))

    def _keep(self, slots: set[int]) -> None:
        for slot in self._own - slots:
            self._arena.release(slot)
        self._own &= slots
        self._writing = []

    def release(self) -> None:
        """Let go of all slots; the beam must not be used afterwards."""
        self._keep(set())
        self._arena.unreserve(self._reserved)

    def held(self) -> list[int]:
        """Return the slots it holds."""
        return list(self._own)
