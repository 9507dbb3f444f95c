"""Beam search: what one search has come to, and the slots its states are in.

The steps themselves, and the choice of hypotheses after each, are the runtime's (see search.py).
This is what is known between its runs: which row of each step goes on from which of the step
before, so that the texts can be read off at the end.

A hypothesis' state is the one before its last token, like a session's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from heapq import nsmallest

from cellwire.server.batch.beam_step import BeamInput, BeamResult, BeamStep
from cellwire.server.session.events import Completion
from cellwire.server.session.operations import Complete
from cellwire.server.state.arena import Arena

_DEAD = -math.inf
_MOST_BEYOND_AN_END = 4  # steps; the price of not asking after each whether all is found


class Beam:
    """The search for the best continuations of one text.

    It follows `beam_width` hypotheses: the greedy one, so that what it finds never ranks below
    greedy choice, and the likeliest others.
    """

    def __init__(self, arena: Arena, complete: Complete) -> None:
        """Begin with the empty continuation; Full if there is no room for the beam's states."""
        arena.reserve(complete.beam_width)
        self._arena = arena
        self._complete = complete
        self._slots = [arena.allocate() for _ in range(complete.beam_width)]
        self._steps: list[BeamStep] = []
        self._log_probability: Sequence[float] = [0.0, *[_DEAD] * (complete.beam_width - 1)]
        self._greedy = 0
        self._ended: list[Completion] = []  # the best, the best first

    @property
    def max_steps(self) -> int:
        """How many steps the next run may have at most."""
        left = self._complete.max_tokens - len(self._steps)
        return min(left, _MOST_BEYOND_AN_END) if self._complete.end.tokens else left

    @property
    def done(self) -> bool:
        """Whether nothing that may still come would be among the results."""
        complete = self._complete
        likeliest = max(self._log_probability)
        if len(self._steps) == complete.max_tokens or likeliest == _DEAD:
            return True
        if len(self._ended) < complete.completions:
            return False
        # No token makes a text likelier; at best the length still grows to where it must end.
        return self._rank(self._ended[-1]) > self._ranked(likeliest, complete.max_tokens)

    def beam_input(self, last_token: int, text_slot: int) -> BeamInput:
        """Return what the next run goes on from.

        `last_token` is that of the text they go on from, `text_slot` where the state before it is.
        """
        slots, ending = self._slots, self._complete.end
        if self._steps:
            token, read_slot = self._steps[-1].token, slots
            may_end = [ending.may_follow(before) for before in token]
        else:
            token, read_slot = [last_token] * len(slots), [text_slot] * len(slots)
            may_end = [ending.may_follow(None)] * len(slots)
        log_probability, greedy = self._log_probability, self._greedy
        return BeamInput(token, read_slot, slots, log_probability, greedy, may_end, ending)

    def commit(self, found: BeamResult) -> None:
        """Take over what came of a run, as far as it was needed."""
        for step in found.steps:
            self._end_some(step)
            self._steps.append(step)
            self._log_probability = step.log_probability
            if len(self._steps) == self._complete.max_tokens:
                self._ended = self._best([*self._ended, *self._unfinished()])
            if self.done:
                break
        self._greedy = found.greedy

    def _end_some(self, step: BeamStep) -> None:
        """Take the best of those that end with a step into the results."""
        ended = zip(
            step.ended_log_probability[: self._complete.completions],
            step.ended_parent,
            step.ended_token,
            strict=False,
        )
        new = [
            Completion((*self._text(parent), token), log_probability, ended=True)
            for log_probability, parent, token in ended
            if log_probability > _DEAD
        ]
        if new:
            self._ended = self._best([*self._ended, *new])

    def _text(self, row: int) -> tuple[int, ...]:
        """Return a hypothesis' tokens."""
        tokens = []
        for step in reversed(self._steps):
            tokens.append(step.token[row])
            row = step.parent[row]
        return tuple(reversed(tokens))

    def _unfinished(self) -> list[Completion]:
        """Return the best hypotheses as they are; equally long, so the likeliest are the best."""
        logs, complete = self._log_probability, self._complete
        rows = [row for row, log_probability in enumerate(logs) if log_probability > _DEAD]
        best = nsmallest(complete.completions, rows, key=lambda row: -logs[row])
        ended = len(self._steps) == complete.max_tokens and not complete.end.tokens
        return [Completion(self._text(row), logs[row], ended) for row in best]

    def _rank(self, completion: Completion) -> float:
        return self._ranked(completion.log_probability, len(completion.tokens))

    def _ranked(self, log_probability: float, length: int) -> float:
        return log_probability / math.pow(length, self._complete.length_penalty)

    def _best(self, completions: Iterable[Completion]) -> list[Completion]:
        ranked = sorted(completions, key=lambda c: (-self._rank(c), c.tokens))
        return ranked[: self._complete.completions]

    def results(self) -> tuple[Completion, ...]:
        """Return the best completions, the best first; before the end, the best so far."""
        if self.done or not self._steps:
            return tuple(self._ended)
        return tuple(self._best([*self._ended, *self._unfinished()]))

    def release(self) -> None:
        """Let go of all slots; the beam must not be used afterwards."""
        for slot in self._slots:
            self._arena.release(slot)
        self._arena.unreserve(len(self._slots))
        self._slots = []

    def held(self) -> list[int]:
        """Return the slots it holds."""
        return self._slots
