"""An embedding that begins as word vectors from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cellwire.exporter.data.vectors import Vectors
from cellwire.exporter.data.vocabulary import Vocabulary
from cellwire.exporter.errors import VectorsError
from cellwire.exporter.recipe.recipe import Recipe

_SPREAD = 0.1  # of the first values of words that the file lacks


@dataclass(frozen=True, slots=True, eq=False)
class Pretrained:
    """A vocabulary's vectors, and how many of its words have one in the file."""

    table: Tensor  # float32 [vocabulary, width]
    found: int

    @classmethod
    def for_recipe(cls, recipe: Recipe, vocabulary: Vocabulary) -> Pretrained | None:
        """Read the file that a recipe names; None if it names none."""
        settings = recipe.network
        if settings.vectors is None:
            return None
        vectors = Vectors.read(Path(settings.vectors))
        return cls.of(vectors, vocabulary, None if settings.freeze_vectors else recipe.run.seed)

    @classmethod
    def of(cls, vectors: Vectors, vocabulary: Vocabulary, seed: int | None) -> Pretrained:
        """Look up each word. Those that are lacking are zeros or, with a seed, small and random.

        VectorsError if no word has a vector.
        """
        places = {word: place for place, word in enumerate(vectors.words)}
        shape = len(vocabulary), vectors.values.shape[1]
        if seed is None:
            table = np.zeros(shape)
        else:
            table = np.random.default_rng(seed).normal(0, _SPREAD, shape)
        known = [row for row, word in enumerate(vocabulary.symbols) if word in places]
        if not known:
            raise VectorsError(
                "the file of vectors has none of the text's words; is it the right one?"
            )
        table[known] = vectors.values[[places[vocabulary.symbols[row]] for row in known]]
        return cls(torch.from_numpy(table.astype(np.float32)), len(known))
