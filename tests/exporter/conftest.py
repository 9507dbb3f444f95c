"""Small models and runs; without torch (the `train` extra) there is nothing to test here."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

if importlib.util.find_spec("torch") is None:
    collect_ignore_glob = ["test_*.py"]
else:
    import torch

    from cellwire.exporter.cells import CellShape, CharacterLstm
    from cellwire.exporter.corpus import Split
    from cellwire.exporter.run import Run, RunConfig
    from cellwire.exporter.train import Training
    from cellwire.exporter.vocabulary import Vocabulary

TEXT = "the quick brown fox jumps over the lazy dog. " * 40


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture
def model() -> Callable[[int], CharacterLstm]:
    """Make a small model of random weights with so many layers."""

    def make(layers: int) -> CharacterLstm:
        torch.manual_seed(layers)
        return CharacterLstm(CellShape(vocabulary=11, embedding=5, hidden=24, layers=layers)).eval()

    return make


@pytest.fixture
def config() -> RunConfig:
    return RunConfig(
        corpus="fox.txt",
        corpus_sha256="0" * 64,
        symbols=Vocabulary.of(TEXT).symbols,
        layers=2,
        hidden=32,
        embedding=8,
        dropout=0.1,
        lanes=4,
        window=16,
        epochs=5,
        learning_rate=0.02,
        weight_decay=0.01,
        clip_norm=1.0,
        validation_share=0.1,
        validate_every=50,
        seed=1,
    )


@pytest.fixture
def training(config: RunConfig) -> Callable[..., Training]:
    """Make a training in a folder, or open the one that is there."""

    def make(path: Path, validate_every: int = 50) -> Training:
        if path.exists():
            run = Run.open(path)
        else:
            run = Run.create(path, replace(config, validate_every=validate_every))
        split = Split.of(config.vocabulary.encode(TEXT), config.validation_share)
        return Training(run, run.config, split)

    return make


@pytest.fixture
def trained(tmp_path: Path, training: Callable[..., Training]) -> Run:
    """A run that has been trained a little."""
    training(tmp_path / "run").run(lambda _: None)
    return Run.open(tmp_path / "run")
