"""Run folders as training leaves them, of small networks with random weights."""

from __future__ import annotations

from pathlib import Path

import torch

from cellwire.exporter.data.vocabulary import UNKNOWN_SYMBOL
from cellwire.exporter.network.kinds import Kind
from cellwire.exporter.network.network import Network
from cellwire.exporter.recipe.data import Data
from cellwire.exporter.recipe.recipe import NetworkSettings, Recipe
from cellwire.exporter.runs.checkpoint import Checkpoint
from cellwire.exporter.runs.run_config import RunConfig
from cellwire.exporter.runs.run_folder import RunFolder

CHARACTERS = tuple("abcdefghijklmnop ,.\n世é")
WORDS = (UNKNOWN_SYMBOL, "the", "film", "is", "not", "very", "good", "bad", ",", ".")
HIDDEN = 19  # no multiple of any vector width


def text_config(kind: Kind = "lstm", layers: int = 1, *, one_hot: bool = False) -> RunConfig:
    """Of a generator of characters."""
    recipe = Recipe(network=_network(kind, layers, one_hot=one_hot))
    return RunConfig(recipe, "text.txt", "0" * 64, CHARACTERS)


def labels_config(kind: Kind = "gru", layers: int = 1, *, one_hot: bool = False) -> RunConfig:
    """Of a classifier of words."""
    data = Data(kind="labelled", symbols="words", lower_case=True)
    recipe = Recipe(data=data, network=_network(kind, layers, one_hot=one_hot))
    return RunConfig(recipe, "reviews.csv", "0" * 64, WORDS, ("negative", "positive"))


def _network(kind: Kind, layers: int, *, one_hot: bool) -> NetworkSettings:
    return NetworkSettings(
        cell=kind,
        layers=layers,
        hidden=HIDDEN,
        input="one_hot" if one_hot else "embedding",
        embedding=5,
    )


def random_network(config: RunConfig, seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return Network(config.shape).eval()


def saved_run(path: Path, config: RunConfig, network: Network | None = None) -> RunFolder:
    """A run whose checkpoints hold a network, by default one with random weights."""
    run = RunFolder.create(path, config)
    save(run, network or random_network(config), step=100)
    return run


def save(run: RunFolder, network: Network, step: int, *, keep: bool = False) -> None:
    accuracy = 0.75 if run.config.labels else None
    weights = network.state_dict()
    run.save(Checkpoint(step, 1.0, 1.0, accuracy, True, weights, {}, {}), keep=keep)  # noqa: FBT003  # see Checkpoint
