"""What the network sees, epoch after epoch: the same for a seed, wherever a run was resumed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from cellwire.exporter.data.dataset import Dataset
from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.data.plan import LANES, Plan
from cellwire.exporter.data.vocabulary import Ids
from cellwire.exporter.recipe.recipe import Recipe

_BUCKET_BATCHES = 50  # as many are sorted by length at once


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Symbols, and what is to be said of them."""

    inputs: Tensor  # int64 [lanes, time]
    targets: Tensor  # int64 [lanes, time] or, of the last symbols only, [lanes]
    lasts: Tensor | None = None  # int64 [lanes]: where each lane's last symbol is; None: all count
    goes_on: bool = False  # whether each lane goes on where it ended in the batch before

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, without waiting until it is there."""
        if device.type == "cpu":
            return self
        lasts = None if self.lasts is None else _sent(self.lasts, device)
        return Batch(_sent(self.inputs, device), _sent(self.targets, device), lasts, self.goes_on)


def _sent(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True)


class Batches(ABC):
    """The batches of a training."""

    epoch_steps: int

    @abstractmethod
    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, from `first` on."""


class TextBatches(Batches):
    """Windows of a text. Each epoch starts at another symbol, so that they fall differently."""

    def __init__(self, ids: Ids, recipe: Recipe) -> None:
        self._ids = ids
        self._recipe = recipe
        self._plan = Plan.fitting(len(ids), recipe.batches.lanes, recipe.batches.window)
        self.epoch_steps = self._plan.epoch_steps

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """As of all batches."""
        plan, settings = self._plan, self._recipe.batches
        random = np.random.default_rng((self._recipe.run.seed, number))
        start = random.integers(plan.jitter)
        ids = self._ids[start : start + plan.epoch_chars]
        starts = plan.windows.starts(len(ids), settings.order, random)
        for k in range(first, self.epoch_steps):
            inputs, targets = map(torch.from_numpy, plan.windows.cut(ids, starts[k]))
            goes_on = k > 0 and settings.order != "random"
            if settings.loss == "all":
                yield Batch(inputs, targets, goes_on=goes_on)
            else:
                lasts = torch.full((len(inputs),), inputs.shape[1] - 1)
                yield Batch(inputs, targets[:, -1], lasts, goes_on)


class ExampleBatches(Batches):
    """Labelled texts in random order, those of like length together."""

    def __init__(self, examples: Examples, lanes: int, seed: int) -> None:
        self._examples = examples
        self._lanes = lanes
        self._seed = seed
        self.epoch_steps = -(-len(examples) // lanes)

    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """As of all batches."""
        random = np.random.default_rng((self._seed, number))
        order = random.permutation(len(self._examples))
        bucket = self._lanes * _BUCKET_BATCHES
        order = np.concatenate(
            [
                _by_length(self._examples, order[i : i + bucket])
                for i in range(0, len(order), bucket)
            ]
        )
        for k in random.permutation(self.epoch_steps)[first:]:
            yield batch_of(self._examples, order[k * self._lanes : (k + 1) * self._lanes])


def batches_of(dataset: Dataset, recipe: Recipe) -> Batches:
    """Return the batches that a recipe makes of what is learnt from."""
    if isinstance(dataset.train, Examples):
        lanes = recipe.batches.lanes or LANES
        return ExampleBatches(dataset.train, lanes, recipe.run.seed)
    return TextBatches(dataset.train, recipe)


def sorted_batches(examples: Examples, lanes: int) -> Iterator[Batch]:
    """Yield all examples once, the shortest first."""
    order = _by_length(examples, np.arange(len(examples)))
    for start in range(0, len(order), lanes):
        yield batch_of(examples, order[start : start + lanes])


def batch_of(examples: Examples, places: Sequence[int] | Ids) -> Batch:
    """Return examples as a batch, padded on the right: what comes after a text changes nothing."""
    texts = [examples.texts[place] for place in places]
    lengths = [len(text) for text in texts]
    inputs = np.zeros((len(texts), max(lengths)), dtype=np.int64)
    for row, text in zip(inputs, texts, strict=True):
        row[: len(text)] = text
    return Batch(
        torch.from_numpy(inputs),
        torch.from_numpy(examples.labels[places]),
        lasts=torch.tensor(lengths) - 1,
    )


def _by_length(examples: Examples, order: Ids) -> Ids:
    lengths = [len(examples.texts[place]) for place in order]
    return order[np.argsort(lengths, kind="stable")]
