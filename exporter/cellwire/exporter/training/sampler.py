"""Texts that a network generates during its training.

They are sampled with a separate generator, so that they do not change the training.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from cellwire.exporter.data.dataset import Dataset
from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.data.vocabulary import Tokens, decode, encode
from cellwire.exporter.errors import CorpusError, RecipeError
from cellwire.exporter.network.cell import State
from cellwire.exporter.network.network import Network
from cellwire.exporter.recipe.recipe import RunSettings
from cellwire.model_file.vocabulary import Vocabulary

_DEFAULT_PROMPT_TOKENS = 16  # of the beginning of the text


def prompts_for(run: RunSettings, dataset: Dataset) -> tuple[Tokens, ...]:
    """Return the prompts of a recipe, each `[n]`; RecipeError if one cannot be read."""
    if not run.sample_every or isinstance(dataset.train, Examples):
        return ()
    prompts = []
    for prompt in run.sample_prompts:
        try:
            tokens = encode(dataset.vocabulary, prompt)
        except CorpusError as error:
            raise RecipeError(f"run.sample_prompts: {prompt!r}: {error}") from error
        if not len(tokens):
            raise RecipeError(f"run.sample_prompts: {prompt!r} has no symbol to begin with")
        prompts.append(tokens)
    return tuple(prompts) or (dataset.train[:_DEFAULT_PROMPT_TOKENS],)


class Sampler:
    """Continues each prompt, deterministically for the same weights and step."""

    def __init__(
        self, vocabulary: Vocabulary, prompts: tuple[Tokens, ...], settings: RunSettings
    ) -> None:
        self._vocabulary = vocabulary
        self._prompts = prompts
        self._settings = settings

    def sample(self, network: Network, step: int, device: torch.device) -> list[str]:
        """Return each prompt with its continuation."""
        generator = torch.Generator().manual_seed(self._settings.seed * 1_000_003 + step)
        network.eval()
        with torch.no_grad():
            texts = [self._continue(network, p, generator, device) for p in self._prompts]
        network.train()
        return texts

    def _continue(
        self, network: Network, prompt: Tokens, generator: torch.Generator, device: torch.device
    ) -> str:
        inputs = torch.from_numpy(prompt.astype(np.int64))[None]
        state: State | None = None
        continuation: list[int] = []
        for _ in range(self._settings.sample_tokens):
            outputs, state = network.read(inputs.to(device), state)
            token = self._choose(network.head(outputs[0, -1]).cpu(), generator)
            continuation.append(token)
            inputs = torch.tensor([[token]])
        return decode(self._vocabulary, [*prompt.tolist(), *continuation])

    def _choose(self, logits: Tensor, generator: torch.Generator) -> int:
        if self._vocabulary.unknown_token is not None:
            logits[self._vocabulary.unknown_token] = -math.inf  # read, but never written
        temperature = self._settings.sample_temperature
        if temperature == 0:
            return int(logits.argmax())
        probabilities = torch.softmax(logits.double() / temperature, dim=0)
        return int(torch.multinomial(probabilities, 1, generator=generator))
