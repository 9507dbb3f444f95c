"""The batches of each epoch, which depend on nothing but the seed and their number."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from typing_extensions import override

from cellwire.exporter.data.dataset import Dataset
from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.data.plan import LANES, Plan
from cellwire.exporter.data.vocabulary import Tokens
from cellwire.exporter.recipe.recipe import Recipe

_BUCKET_BATCHES = 50  # batches whose examples are sorted by length together


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Inputs and targets of one step."""

    inputs: Tensor  # int64 [lanes, time]
    targets: Tensor  # int64 [lanes, time]; [lanes] if only the last positions count
    last_positions: Tensor | None = None  # int64 [lanes]; None: all positions count
    carries_state: bool = False  # whether each lane continues the batch before

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device, without waiting for the copy."""
        if device.type == "cpu":
            return self
        last = self.last_positions
        last = None if last is None else _send(last, device)
        inputs, targets = _send(self.inputs, device), _send(self.targets, device)
        return Batch(inputs, targets, last, self.carries_state)


def _send(tensor: Tensor, device: torch.device) -> Tensor:
    return tensor.pin_memory().to(device, non_blocking=True)


class Batches(ABC):
    """The batches of a training."""

    epoch_steps: int

    @abstractmethod
    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        """Yield the batches of an epoch, starting with batch `first`."""


class TextBatches(Batches):
    """Windows of a text. Each epoch starts at another offset, so that windows vary."""

    def __init__(self, tokens: Tokens, recipe: Recipe) -> None:
        self._tokens = tokens
        self._recipe = recipe
        self._plan = Plan.fit(len(tokens), recipe.batches.lanes, recipe.batches.window)
        self.epoch_steps = self._plan.epoch_steps

    @override
    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        plan, settings = self._plan, self._recipe.batches
        random = np.random.default_rng((self._recipe.run.seed, number))
        start = random.integers(plan.start_offsets)
        tokens = self._tokens[start : start + plan.epoch_tokens]
        starts = plan.windows.starts(len(tokens), settings.order, random)
        for k in range(first, self.epoch_steps):
            inputs, targets = map(torch.from_numpy, plan.windows.cut(tokens, starts[k]))
            carries_state = k > 0 and settings.order != "random"
            if settings.loss == "all":
                yield Batch(inputs, targets, carries_state=carries_state)
            else:
                last_positions = torch.full((len(inputs),), inputs.shape[1] - 1)
                yield Batch(inputs, targets[:, -1], last_positions, carries_state)


class ExampleBatches(Batches):
    """Labelled texts in random order; a batch holds texts of similar length."""

    def __init__(self, examples: Examples, lanes: int, seed: int) -> None:
        self._examples = examples
        self._lanes = lanes
        self._seed = seed
        self.epoch_steps = -(-len(examples) // lanes)

    @override
    def epoch(self, number: int, first: int = 0) -> Iterator[Batch]:
        random = np.random.default_rng((self._seed, number))
        order = random.permutation(len(self._examples))
        bucket = self._lanes * _BUCKET_BATCHES
        order = np.concatenate(
            [
                _sort_by_length(self._examples, order[i : i + bucket])
                for i in range(0, len(order), bucket)
            ]
        )
        for k in random.permutation(self.epoch_steps)[first:]:
            yield pad_examples(self._examples, order[k * self._lanes : (k + 1) * self._lanes])


def make_batches(dataset: Dataset, recipe: Recipe) -> Batches:
    """Return the batches of a dataset's training part."""
    if isinstance(dataset.train, Examples):
        lanes = recipe.batches.lanes or LANES
        return ExampleBatches(dataset.train, lanes, recipe.run.seed)
    return TextBatches(dataset.train, recipe)


def batches_by_length(examples: Examples, lanes: int) -> Iterator[Batch]:
    """Yield all examples once, the shortest first."""
    order = _sort_by_length(examples, np.arange(len(examples)))
    for start in range(0, len(order), lanes):
        yield pad_examples(examples, order[start : start + lanes])


def pad_examples(examples: Examples, indices: Sequence[int] | Tokens) -> Batch:
    """Return examples as a batch, padded on the right, where padding is never read."""
    texts = [examples.texts[index] for index in indices]
    lengths = [len(text) for text in texts]
    inputs = np.zeros((len(texts), max(lengths)), dtype=np.int64)
    for row, text in zip(inputs, texts, strict=True):
        row[: len(text)] = text
    return Batch(
        torch.from_numpy(inputs),
        torch.from_numpy(examples.labels[indices]),
        last_positions=torch.tensor(lengths) - 1,
    )


def _sort_by_length(examples: Examples, indices: Tokens) -> Tokens:
    lengths = [len(examples.texts[index]) for index in indices]
    return indices[np.argsort(lengths, kind="stable")]
