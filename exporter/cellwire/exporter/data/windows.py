"""Windows: the batches of an epoch, cut out of a text.

A batch has `lanes` windows of `window` tokens each. There are three orders:

carried        The text is cut into as many segments as there are lanes. Each lane reads its segment
               window by window, and carries the state from each to the next, as in serving.
shuffled_rows  The same, but the lanes' segments are shuffled for every epoch.
random         The text is cut into windows, which come in random order, each at most once; the
               state is zero at the start of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellwire.exporter.data.vocabulary import Tokens
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Order


@dataclass(frozen=True, slots=True)
class Windows:
    """The size of a batch."""

    lanes: int
    window: int  # tokens

    @classmethod
    def fit(cls, text_tokens: int, lanes: int, window: int) -> Windows:
        """Return windows with fewer lanes if the text is too short for all of them.

        CorpusError if it is too short for one window.
        """
        fitting = min(lanes, (text_tokens - 1) // window)
        if fitting < 1:
            raise CorpusError(
                f"the training part has {text_tokens} symbols, fewer than one window of "
                f"{window} + 1; give a longer text or a smaller batches.window"
            )
        return cls(fitting, window)

    def batch_count(self, text_tokens: int) -> int:
        """Return the number of batches in a text, which is the same in any order."""
        return (text_tokens - 1) // self.lanes // self.window

    def carried_starts(self, text_tokens: int) -> Tokens:
        """Return the windows' offsets in the order "carried", `[batches, lanes]`."""
        segment_tokens = (text_tokens - 1) // self.lanes
        batches = np.arange(self.batch_count(text_tokens))[:, None]
        return np.arange(self.lanes) * segment_tokens + batches * self.window

    def starts(self, text_tokens: int, order: Order, random: np.random.Generator) -> Tokens:
        """Return the windows' offsets in any order, `[batches, lanes]`."""
        if order == "random":
            batches = self.batch_count(text_tokens)
            windows = random.permutation((text_tokens - 1) // self.window)
            return windows[: batches * self.lanes].reshape(batches, self.lanes) * self.window
        starts = self.carried_starts(text_tokens)
        if order == "shuffled_rows":
            starts = starts[:, random.permutation(self.lanes)]
        return starts

    def cut(self, tokens: Tokens, starts: Tokens) -> tuple[Tokens, Tokens]:
        """Return the inputs and targets of windows at offsets `[lanes]`, int64 `[lanes, window]`.

        Targets are one token after their inputs.
        """
        offsets = starts[:, None] + np.arange(self.window)
        return tokens[offsets].astype(np.int64), tokens[offsets + 1].astype(np.int64)
