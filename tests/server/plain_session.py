"""A plain model of a session: results computed from its text alone, without states or slots."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from tests.server.plain_stepper import (
    Text,
    log_probability_of,
    scores_after,
    token_after,
)

from cellwire.model_file.vocabulary import BEGINNING, SETTLED, TextEnd
from cellwire.server.batch.sampling import generator_key, uniforms
from cellwire.server.session.events import Completion, FinishReason
from cellwire.server.session.operations import (
    Accept,
    Append,
    Complete,
    Generate,
    Operation,
    Rewind,
    Score,
)


def log_probability(before: Text, tokens: Text) -> float:
    """Return that of tokens after a text; the first token of a session counts as certain."""
    total = 0.0
    for token in tokens:
        total += log_probability_of(before, token) if before else 0.0
        before = (*before, token)
    return total


def uniform(seed: int, position: int) -> float:
    key = np.array([generator_key(seed)], np.uint64)
    return float(uniforms(key, np.array([position], np.uint64))[0])


def beam_search(
    complete: Complete, likeliest: Callable[[Text], list[tuple[int, float]]]
) -> tuple[Completion, ...]:
    """Return the results of a beam search over whole texts, without shared states.

    `likeliest` ranks all tokens after a continuation, the likeliest first.
    """

    def rank(completion: Completion) -> float:
        length = math.pow(len(completion.tokens), complete.length_penalty)
        return completion.log_probability / length

    ended: list[Completion] = []
    alive: list[tuple[float, Text, bool]] = [(0.0, (), True)]
    for length in range(1, complete.max_tokens + 1):
        extensions = [
            (score + log, (*tokens, token), greedy and rank_of_token == 0)
            for score, tokens, greedy in alive
            for rank_of_token, (token, log) in enumerate(likeliest(tokens))
        ]
        going_on = []
        for score, tokens, greedy in extensions:
            at_end = complete.end.ends(tokens[-2] if length > 1 else None, tokens[-1])
            if at_end:
                ended.append(Completion(tokens, score, ended=True))
            else:
                going_on.append((score, tokens, greedy))
        # The greedy one is kept, however unlikely; if it has ended, the likeliest replaces it.
        going_on.sort(key=lambda e: (not e[2], -e[0], e[1]))
        alive = [(s, tokens, index == 0) for index, (s, tokens, _) in enumerate(going_on)]
        del alive[complete.beam_width :]
    ended += [Completion(t, score, ended=complete.end.tokens is None) for score, t, _ in alive]
    ended.sort(key=lambda c: (-rank(c), c.tokens))
    return tuple(ended[: complete.completion_count])


@dataclass
class PlainSession:
    """A text, and the operations on it that have no answer yet."""

    seed: int
    window: int
    text: list[int] = field(default_factory=list)  # the reported part
    floor: int = 0
    operations: list[Operation] = field(default_factory=list)
    completions: tuple[Completion, ...] | None = None
    text_end: TextEnd = BEGINNING
    granted: int = 0
    written: int = 0
    held: bool = False
    closed: bool = False

    def grow(self, *tokens: int) -> None:
        self.text += tokens
        self.text_end = SETTLED if tokens else self.text_end
        self.reach(len(self.text))

    def cut(self, length: int) -> None:
        """Drop the end of the text."""
        if length < len(self.text):
            del self.text[length:]
            self.text_end = SETTLED if length else BEGINNING

    def reach(self, length: int) -> None:
        """Raise the rewind floor: the text had this length at some time."""
        self.floor = max(self.floor, length - self.window)

    def take(self, operation_id: int) -> Operation:
        """Remove and return an operation."""
        (operation,) = (o for o in self.operations if o.id == operation_id)
        self.operations.remove(operation)
        return operation

    def next_token(self, generate: Generate, start: int, text: Text) -> int:
        seed = generate.sampling.seed
        if seed is None:
            return token_after(text, uniform(self.seed, len(text)))
        return token_after(text, uniform(seed, len(text) - start))

    def generated(self, generate: Generate, start: int) -> tuple[Text, FinishReason]:
        """Return the text after a generate that began at `start`, and why it ends."""
        text = tuple(self.text[:start])
        while len(text) < start + generate.max_tokens:
            text = (*text, self.next_token(generate, start, text))
            stops = [s for s in generate.stop_strings if text[start:][-len(s) :] == s]
            if stops:
                return text[: len(text) - max(map(len, stops))], FinishReason.STOP
        return text, FinishReason.MAX_TOKENS

    def read_again(self, operation: Append | Score) -> tuple[Text, Text]:
        """Return what stays of the text, and the tokens that an operation adds to it."""
        tokens, kept = tuple(operation.tokens.tolist()), len(operation.reread)
        while operation.reread[:kept] != tokens[:kept]:
            kept -= 1
        end = len(self.text) - len(operation.reread) + kept
        return tuple(self.text[:end]), tokens[kept:]

    def may_read_again(self, operation: Append | Score) -> bool:
        """Whether the text ends with what an operation continues, and can go back so far."""
        reread = operation.reread
        if tuple(self.text[len(self.text) - len(reread) :]) != reread:
            return False
        return len(self.read_again(operation)[0]) >= self.floor or not reread

    def possible_texts(self) -> list[Text]:
        """Return the text with all that its first operation may have done without an event."""
        text = tuple(self.text)
        match self.operations[0] if self.operations else None:
            case Append() as append if self.may_read_again(append):
                stays, added = self.read_again(append)
            case Accept(index=index) if self.completions and index < len(self.completions):
                stays, added = text, self.completions[index].tokens
            case _:
                return [text]
        return [text, *(stays + added[:done] for done in range(len(added) + 1))]

    written_by_head: int = 0  # tokens that the generate at the head has reported

    def score(self, score: Score) -> float:
        return log_probability(*self.read_again(score))

    def scores(self) -> tuple[float, ...]:
        return scores_after(tuple(self.text))

    def target(self, rewind: Rewind) -> int:
        return len(self.text) - (rewind.tokens or 0) if rewind.offset is None else rewind.offset

    def may_rewind(self, rewind: Rewind) -> bool:
        return self.floor <= self.target(rewind) <= len(self.text)
