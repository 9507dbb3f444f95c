"""Model files of each size, with random weights that are the same every time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import onnx
import torch
from tests.bench.texts import VOCABULARY, symbols_of

from cellwire.exporter.export.fold import fold
from cellwire.exporter.export.graph import Weights, cell_graph
from cellwire.exporter.network.network import Network, NetworkShape
from cellwire.model_file.manifest import (
    METADATA_KEY,
    CellFacts,
    Manifest,
    TrainingFacts,
    VocabularyFacts,
)

_EMBEDDING = 64  # folds into the table, so that it makes no difference
_SEED = 20_260_104


@dataclass(frozen=True, slots=True)
class Size:
    """The size of a model."""

    layers: int
    hidden: int

    @property
    def state_bytes(self) -> int:
        """How large one session's state is: h and c of each layer, float32."""
        return self.layers * self.hidden * 2 * 4

    def __str__(self) -> str:
        return f"LSTM {self.layers} x {self.hidden}"


SIZES: dict[str, Size] = {
    "S": Size(1, 128),
    "M": Size(2, 256),
    "L": Size(2, 512),
    "XL": Size(2, 1024),
    "tiny": Size(1, 16),  # for tests of the benchmarks themselves
}


def network(size: str, vocabulary: int = VOCABULARY) -> Network:
    """Return a model in torch."""
    layers, hidden = SIZES[size].layers, SIZES[size].hidden
    torch.manual_seed(_SEED)
    return Network(NetworkShape("lstm", vocabulary, _EMBEDDING, hidden, layers)).eval()


class Models:
    """A folder of model files, each written on first use."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def path(
        self, size: str, vocabulary: int = VOCABULARY, *, weights: Weights = "float32"
    ) -> Path:
        """Return the file of a model; its stem is the size, the vocabulary, and what is rounded."""
        rounded = "" if weights == "float32" else f"-{weights}"
        path = self._folder / f"{size}-{vocabulary}{rounded}.onnx"
        if not path.exists():
            cell = cell_graph(fold(network(size, vocabulary)), weights)
            manifest = _manifest(SIZES[size], symbols_of(vocabulary))
            onnx.helper.set_model_props(cell, {METADATA_KEY: manifest.to_json()})
            onnx.save(cell, path)
        return path


def _manifest(size: Size, symbols: str) -> Manifest:
    return Manifest(
        version=1,
        vocabulary=VocabularyFacts("characters", tuple(symbols)),
        cell=CellFacts("lstm", size.layers, size.hidden),
        training=TrainingFacts(
            corpus="none: random weights",
            recipe={"seed": _SEED},
        ),
    )
