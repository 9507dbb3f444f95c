"""Texts that a network writes while it learns.

They are drawn from a generator of their own, so that a training goes the same way with them as
without.
"""

from __future__ import annotations

import torch
from torch import Tensor

from cellwire.exporter.data.dataset import Dataset
from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.data.vocabulary import Ids, Vocabulary
from cellwire.exporter.errors import CorpusError, RecipeError
from cellwire.exporter.network.cell import State
from cellwire.exporter.network.network import Network
from cellwire.exporter.recipe.recipe import RunSettings

_PREFIX_SYMBOLS = 16  # of the prefix that is taken from the text where none was asked for


def prefixes_for(run: RunSettings, dataset: Dataset) -> tuple[Ids, ...]:
    """Return what samples begin with, int64 `[n]`; RecipeError if the network cannot read it."""
    if not run.sample_every or isinstance(dataset.train, Examples):
        return ()
    prefixes = []
    for prefix in run.sample_prefixes:
        try:
            prefixes.append(dataset.vocabulary.encode(prefix))
        except CorpusError as error:
            raise RecipeError(f"run.sample_prefixes: {prefix!r}: {error}") from error
        if not len(prefixes[-1]):
            raise RecipeError(f"run.sample_prefixes: {prefix!r} has no symbol to begin with")
    return tuple(prefixes) or (dataset.train[:_PREFIX_SYMBOLS],)


class Sampler:
    """Goes on with each prefix, in the same way for the same weights and step."""

    def __init__(
        self, vocabulary: Vocabulary, prefixes: tuple[Ids, ...], settings: RunSettings
    ) -> None:
        self._vocabulary = vocabulary
        self._prefixes = prefixes
        self._settings = settings

    def write(self, network: Network, step: int, device: torch.device) -> list[str]:
        """Return each prefix with so many symbols after it."""
        generator = torch.Generator().manual_seed(self._settings.seed * 1_000_003 + step)
        network.eval()
        with torch.no_grad():
            texts = [self._go_on(network, p, generator, device) for p in self._prefixes]
        network.train()
        return texts

    def _go_on(
        self, network: Network, prefix: Ids, generator: torch.Generator, device: torch.device
    ) -> str:
        read = torch.from_numpy(prefix)[None]
        state: State | None = None
        written: list[int] = []
        for _ in range(self._settings.sample_chars):
            outputs, state = network.read(read.to(device), state)
            symbol = self._chosen(network.head(outputs[0, -1]).cpu(), generator)
            written.append(symbol)
            read = torch.tensor([[symbol]])
        return self._vocabulary.decode([*prefix.tolist(), *written])

    def _chosen(self, logits: Tensor, generator: torch.Generator) -> int:
        temperature = self._settings.sample_temperature
        if temperature == 0:
            return int(logits.argmax())
        shares = torch.softmax(logits.double() / temperature, dim=0)
        return int(torch.multinomial(shares, 1, generator=generator))
