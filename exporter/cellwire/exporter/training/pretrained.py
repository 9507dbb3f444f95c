"""An embedding whose initial values are word vectors from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from cellwire.exporter.data.vectors import Vectors
from cellwire.exporter.errors import VectorsError
from cellwire.exporter.recipe.recipe import Recipe
from cellwire.model_file.vocabulary import Vocabulary

_STANDARD_DEVIATION = 0.1  # of the initial values of words that the file lacks


@dataclass(frozen=True, slots=True, eq=False)
class PretrainedEmbedding:
    """The vectors of a vocabulary's words."""

    table: Tensor  # float32 [vocabulary, width]
    known_words: int  # those that the file has

    @classmethod
    def for_recipe(cls, recipe: Recipe, vocabulary: Vocabulary) -> PretrainedEmbedding | None:
        """Read the file of a recipe; None if it has none."""
        settings = recipe.network
        if settings.vectors is None:
            return None
        vectors = Vectors.read(Path(settings.vectors))
        return cls.of(vectors, vocabulary, None if settings.freeze_vectors else recipe.run.seed)

    @classmethod
    def of(cls, vectors: Vectors, vocabulary: Vocabulary, seed: int | None) -> PretrainedEmbedding:
        """Look up each word. Missing words are zeros or, with a seed, small random numbers.

        VectorsError if no word has a vector.
        """
        rows = {word: row for row, word in enumerate(vectors.words)}
        shape = len(vocabulary), vectors.values.shape[1]
        if seed is None:
            table = np.zeros(shape)
        else:
            table = np.random.default_rng(seed).normal(0, _STANDARD_DEVIATION, shape)
        words = [symbol.removeprefix(" ") for symbol in vocabulary.facts.symbols]
        known = [token for token, word in enumerate(words) if word in rows]
        if not known:
            raise VectorsError(
                "the file of vectors has none of the text's words; is it the right file? Most "
                "files have lower case only: --set data.lower_case=true"
            )
        table[known] = vectors.values[[rows[words[token]] for token in known]]
        return cls(torch.from_numpy(table.astype(np.float32)), len(known))
