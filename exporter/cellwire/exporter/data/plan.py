"""How long a training takes, and what of a recipe is fitted to its text.

What was not asked for is fitted to the length of the text. A short text gets fewer lanes, so that
an epoch has enough steps, and more epochs, so that the training has; a very short one gets shorter
windows too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import msgspec

from cellwire.exporter.data.windows import Windows
from cellwire.exporter.recipe.recipe import Recipe, RunSettings

LANES, WINDOW, EPOCHS = 64, 128, 10

_FEWEST_LANES = 8
_FEWEST_WINDOWS = 16
_STEPS_PER_EPOCH = 100
_FEWEST_STEPS = 1_000
_VALIDATE_EVERY = 250
_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """The way through a training text of `chars` symbols."""

    chars: int
    windows: Windows
    epochs: int

    @classmethod
    def fitting(
        cls,
        chars: int,
        lanes: int | None = None,
        window: int | None = None,
        epochs: int | None = None,
    ) -> Plan:
        """Choose what is None; CorpusError when the text has no whole window."""
        window = window or max(1, min(WINDOW, chars // _FEWEST_WINDOWS))
        lanes = lanes or min(LANES, max(_FEWEST_LANES, chars // (window * _STEPS_PER_EPOCH)))
        plan = cls(chars, Windows(lanes, window), EPOCHS)
        plan = replace(plan, windows=Windows.fitting(plan.epoch_chars, lanes, window))
        enough = max(EPOCHS, math.ceil(_FEWEST_STEPS / plan.epoch_steps))
        return replace(plan, epochs=epochs or enough)

    @property
    def jitter(self) -> int:
        """At how many different symbols an epoch may start, so that windows fall differently."""
        window = self.windows.window
        return min(window, max(1, self.chars - window - 1))

    @property
    def epoch_chars(self) -> int:
        """The length of an epoch's text, whichever symbol it starts at."""
        return self.chars - self.jitter + 1

    @property
    def epoch_steps(self) -> int:
        """The steps of an epoch."""
        return self.windows.count(self.epoch_chars)

    @property
    def steps(self) -> int:
        """The steps of the whole training."""
        return self.epoch_steps * self.epochs


def settled_for_text(recipe: Recipe, chars: int) -> Recipe:
    """Return a recipe in which everything is chosen for a text of `chars` symbols."""
    asked = recipe.batches
    plan = Plan.fitting(chars, asked.lanes, asked.window, recipe.run.epochs)
    batches = msgspec.structs.replace(asked, lanes=plan.windows.lanes, window=plan.windows.window)
    run = _settled(recipe.run, plan.epoch_steps, plan.epochs, _SAMPLES)
    return msgspec.structs.replace(recipe, batches=batches, run=run)


def settled_for_examples(recipe: Recipe, examples: int) -> Recipe:
    """Return a recipe in which everything is chosen for so many labelled texts."""
    lanes = min(recipe.batches.lanes or LANES, examples)
    batches = msgspec.structs.replace(recipe.batches, lanes=lanes)
    run = _settled(recipe.run, -(-examples // lanes), recipe.run.epochs or EPOCHS, samples=0)
    return msgspec.structs.replace(recipe, batches=batches, run=run)


def total_steps(run: RunSettings, epoch_steps: int) -> int:
    """Return the steps of a whole training: those asked for, or those of its epochs, if fewer."""
    of_epochs = epoch_steps * run.epochs if run.epochs else math.inf
    return int(min(run.steps or math.inf, of_epochs))


def _settled(run: RunSettings, epoch_steps: int, epochs: int, samples: int) -> RunSettings:
    if run.steps and not run.epochs:
        epochs = -(-run.steps // epoch_steps)
    run = msgspec.structs.replace(run, epochs=epochs)
    every = min(_VALIDATE_EVERY, max(1, total_steps(run, epoch_steps) // 10))
    sample_every = run.sample_every
    if sample_every is None:
        sample_every = max(1, epochs // samples) if samples else 0
    return msgspec.structs.replace(
        run, validate_every=run.validate_every or every, sample_every=sample_every
    )
