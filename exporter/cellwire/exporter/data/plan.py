"""The length of a training, and the settings of a recipe that are fitted to the text.

Settings that are None are fitted to the length of the text. A short text gets fewer lanes, so that
an epoch has enough steps, and more epochs, so that the training has; a very short text gets shorter
windows too.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import msgspec

from cellwire.exporter.data.windows import Windows
from cellwire.exporter.recipe.recipe import Recipe, RunSettings

LANES, WINDOW, EPOCHS = 64, 128, 10  # of a long text

_MIN_LANES = 8
_MIN_WINDOWS = 16
_STEPS_PER_EPOCH = 100
_MIN_STEPS = 1_000
_VALIDATE_EVERY = 250
_VALIDATIONS = 10  # at least, if the training has so many steps
_SAMPLES = 5


@dataclass(frozen=True, slots=True)
class Plan:
    """The schedule of windows through a training text."""

    text_tokens: int
    windows: Windows
    epochs: int

    @classmethod
    def fit(
        cls,
        text_tokens: int,
        lanes: int | None = None,
        window: int | None = None,
        epochs: int | None = None,
    ) -> Plan:
        """Choose all settings that are None; CorpusError if the text has no whole window."""
        window = window or max(1, min(WINDOW, text_tokens // _MIN_WINDOWS))
        lanes = lanes or min(LANES, max(_MIN_LANES, text_tokens // (window * _STEPS_PER_EPOCH)))
        plan = cls(text_tokens, Windows(lanes, window), EPOCHS)
        plan = replace(plan, windows=Windows.fit(plan.epoch_tokens, lanes, window))
        enough = max(EPOCHS, math.ceil(_MIN_STEPS / plan.epoch_steps))
        return replace(plan, epochs=epochs or enough)

    @property
    def start_offsets(self) -> int:
        """The number of offsets at which an epoch may start, so that windows vary."""
        window = self.windows.window
        return min(window, max(1, self.text_tokens - window - 1))

    @property
    def epoch_tokens(self) -> int:
        """The length of an epoch's text, which is the same from every start offset."""
        return self.text_tokens - self.start_offsets + 1

    @property
    def epoch_steps(self) -> int:
        """The steps of an epoch."""
        return self.windows.batch_count(self.epoch_tokens)

    @property
    def steps(self) -> int:
        """The steps of the whole training."""
        return self.epoch_steps * self.epochs


def fit_to_text(recipe: Recipe, text_tokens: int) -> Recipe:
    """Return a recipe whose settings are all chosen, for a training text of so many tokens."""
    batches = recipe.batches
    plan = Plan.fit(text_tokens, batches.lanes, batches.window, recipe.run.epochs)
    windows = plan.windows
    batches = msgspec.structs.replace(batches, lanes=windows.lanes, window=windows.window)
    run = _fit_run(recipe.run, plan.epoch_steps, plan.epochs, _SAMPLES)
    return msgspec.structs.replace(recipe, batches=batches, run=run)


def fit_to_examples(recipe: Recipe, examples: int) -> Recipe:
    """Return a recipe whose settings are all chosen, for so many labelled texts."""
    lanes = min(recipe.batches.lanes or LANES, examples)
    batches = msgspec.structs.replace(recipe.batches, lanes=lanes)
    run = _fit_run(recipe.run, -(-examples // lanes), recipe.run.epochs or EPOCHS, samples=0)
    return msgspec.structs.replace(recipe, batches=batches, run=run)


def total_steps(run: RunSettings, epoch_steps: int) -> int:
    """Return the steps of a training: `run.steps`, or those of its epochs if they are fewer."""
    steps_of_epochs = epoch_steps * run.epochs if run.epochs else math.inf
    return int(min(run.steps or math.inf, steps_of_epochs))


def _fit_run(run: RunSettings, epoch_steps: int, epochs: int, samples: int) -> RunSettings:
    """Choose epochs, and when to validate and to sample."""
    if run.steps and not run.epochs:
        epochs = -(-run.steps // epoch_steps)
    run = msgspec.structs.replace(run, epochs=epochs)
    every = min(_VALIDATE_EVERY, max(1, total_steps(run, epoch_steps) // _VALIDATIONS))
    sample_every = run.sample_every
    if sample_every is None:
        sample_every = max(1, epochs // samples) if samples else 0
    return msgspec.structs.replace(
        run, validate_every=run.validate_every or every, sample_every=sample_every
    )
