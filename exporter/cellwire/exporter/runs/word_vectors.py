"""The word vectors that a run has learnt: its embedding."""

from __future__ import annotations

from torch import nn

from cellwire.exporter.data.vectors import Vectors
from cellwire.exporter.errors import VectorsError
from cellwire.exporter.runs.run_folder import Run


def learnt_vectors(run: Run) -> Vectors:
    """Return the embedding of a run's best model; VectorsError if it has none of words."""
    network, _ = run.best_model()
    if run.config.vocabulary.kind != "words":
        raise VectorsError(f"{run.path} has learnt {run.config.vocabulary.kind}, not words")
    if not isinstance(network.embedding, nn.Embedding):
        raise VectorsError(f"{run.path} reads its words as one-hot vectors, which are all alike")
    return Vectors(run.config.symbols, network.embedding.weight.detach().numpy())
