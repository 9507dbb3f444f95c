"""A beam search between its runs: hypotheses, results, and slots.

The runtime makes the steps, and chooses the hypotheses after each (see batch/beam_step.py). Each
step leaves, for every row, the row of the step before that it extends; texts are read backwards
along these. Like a session's, a hypothesis' state is the one before its last token.
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
# Of a search that may end early: whether it is done is known only after a run.
_MAX_STEPS_TO_END = 4


class Beam:
    """The search for the best continuations of one text.

    One of its `beam_width` hypotheses is the greedy one, so no result ranks below greedy choice.
    The others are the likeliest.
    """

    def __init__(self, arena: Arena, complete: Complete) -> None:
        """Reserve and take `beam_width` slots; ResourceExhausted without them."""
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
        """The most steps of the next run."""
        left = self._complete.max_tokens - len(self._steps)
        return min(left, _MAX_STEPS_TO_END) if self._complete.end.tokens else left

    @property
    def done(self) -> bool:
        """Whether no extension can be among the results any more."""
        complete = self._complete
        likeliest = max(self._log_probability)
        if len(self._steps) == complete.max_tokens or likeliest == _DEAD:
            return True
        if len(self._ended) < complete.completion_count:
            return False
        # No token makes a text likelier. At best, a greater length still improves its rank.
        return self._rank_of(self._ended[-1]) > self._rank(likeliest, complete.max_tokens)

    def input(self, last_token: int, text_slot: int) -> BeamInput:
        """Return the hypotheses that the next run extends.

        `last_token` is the last of the session's text, and `text_slot` holds the state before it.
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

    def commit(self, result: BeamResult) -> None:
        """Record the steps of a run, up to the one that ends the search."""
        for step in result.steps:
            self._end_some(step)
            self._steps.append(step)
            self._log_probability = step.log_probability
            if len(self._steps) == self._complete.max_tokens:
                self._ended = self._best([*self._ended, *self._unfinished()])
            if self.done:
                break
        self._greedy = result.greedy

    def _end_some(self, step: BeamStep) -> None:
        """Add the hypotheses that end with a step to the results, if they are good enough."""
        ended = zip(
            step.ended_log_probability[: self._complete.completion_count],
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
        """Return the tokens of a row of the last step."""
        tokens = []
        for step in reversed(self._steps):
            tokens.append(step.token[row])
            row = step.parent[row]
        return tuple(reversed(tokens))

    def _unfinished(self) -> list[Completion]:
        """Return the best hypotheses. They are equally long, so the likeliest are the best."""
        logs, complete = self._log_probability, self._complete
        rows = [row for row, log_probability in enumerate(logs) if log_probability > _DEAD]
        best = nsmallest(complete.completion_count, rows, key=lambda row: -logs[row])
        ended = len(self._steps) == complete.max_tokens and complete.end.tokens is None
        return [Completion(self._text(row), logs[row], ended) for row in best]

    def _rank_of(self, completion: Completion) -> float:
        return self._rank(completion.log_probability, len(completion.tokens))

    def _rank(self, log_probability: float, length: int) -> float:
        return log_probability / math.pow(length, self._complete.length_penalty)

    def _best(self, completions: Iterable[Completion]) -> list[Completion]:
        ranked = sorted(completions, key=lambda c: (-self._rank_of(c), c.tokens))
        return ranked[: self._complete.completion_count]

    def results(self) -> tuple[Completion, ...]:
        """Return the completions found so far, the best first."""
        if self.done or not self._steps:
            return tuple(self._ended)
        return tuple(self._best([*self._ended, *self._unfinished()]))

    def release(self) -> None:
        """Free all slots. The beam must not be used afterwards."""
        for slot in self._slots:
            self._arena.release(slot)
        self._arena.unreserve(len(self._slots))
        self._slots = []

    def held_slots(self) -> list[int]:
        """Return the slots it holds."""
        return self._slots
