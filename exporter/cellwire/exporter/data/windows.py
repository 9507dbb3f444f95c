"""Windows: how a text becomes the batches of an epoch.

A batch is `lanes` windows of `window` symbols each. There are three orders:

carried        The text is cut into as many rows as there are lanes. Each lane reads its row window
               by window, so that the state can be carried from each to the next, as when serving.
shuffled_rows  The same, but which lane reads which row is drawn anew for every epoch.
random         The text is cut into windows, which are drawn in random order, none twice; the state
               is zero at the start of each.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cellwire.exporter.data.vocabulary import Ids
from cellwire.exporter.errors import CorpusError
from cellwire.exporter.recipe.recipe import Order


@dataclass(frozen=True, slots=True)
class Windows:
    """The size of a batch."""

    lanes: int
    window: int

    @classmethod
    def fitting(cls, symbols: int, lanes: int, window: int) -> Windows:
        """Return fewer lanes if the text is too short for all; CorpusError if it has no window."""
        fitting = min(lanes, (symbols - 1) // window)
        if fitting < 1:
            raise CorpusError(
                f"the training part has {symbols} symbols, fewer than one window of {window} + 1; "
                "give a longer text or a smaller batches.window"
            )
        return cls(fitting, window)

    def count(self, symbols: int) -> int:
        """How many batches there are in `symbols` symbols, in any order."""
        return (symbols - 1) // self.lanes // self.window

    def carried(self, symbols: int) -> Ids:
        """Return where each window starts in the order "carried", int64 `[batches, lanes]`."""
        row_length = (symbols - 1) // self.lanes
        batches = np.arange(self.count(symbols))[:, None]
        return np.arange(self.lanes) * row_length + batches * self.window

    def starts(self, symbols: int, order: Order, random: np.random.Generator) -> Ids:
        """Return where each window starts in any order, int64 `[batches, lanes]`."""
        if order == "random":
            batches = self.count(symbols)
            windows = random.permutation((symbols - 1) // self.window)[: batches * self.lanes]
            return windows.reshape(batches, self.lanes) * self.window
        starts = self.carried(symbols)
        if order == "shuffled_rows":
            starts = starts[:, random.permutation(self.lanes)]
        return starts

    def cut(self, ids: Ids, starts: Ids) -> tuple[Ids, Ids]:
        """Return the inputs at `starts`, and the targets one symbol on, int64 `[lanes, window]`."""
        places = starts[:, None] + np.arange(self.window)
        return ids[places], ids[places + 1]
