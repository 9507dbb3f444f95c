"""The embedding of a trained network as word vectors."""

from __future__ import annotations

from torch import nn

from cellwire.exporter.data.vectors import Vectors
from cellwire.exporter.errors import VectorsError
from cellwire.exporter.runs.run_folder import RunFolder


def word_vectors(run: RunFolder) -> Vectors:
    """Return the embedding of a run's best model; VectorsError if it has none of words.

    Of a word that is a symbol with and without the blank before it, it is the more frequent one's.
    """
    network, _ = run.load_network()
    kind = run.config.recipe.data.symbols
    if kind != "words":
        raise VectorsError(f"{run.path} was trained on {kind}, not on words")
    if not isinstance(network.embedding, nn.Embedding):
        raise VectorsError(f"{run.path} has no word vectors: its input is one-hot")
    rows: dict[str, int] = {}
    for row, symbol in enumerate(run.config.symbols):
        rows.setdefault(symbol.removeprefix(" ") or symbol, row)
    values = network.embedding.weight.detach().numpy()
    return Vectors(tuple(rows), values[list(rows.values())])
