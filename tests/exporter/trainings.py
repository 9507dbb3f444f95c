"""Trainings of a second: a small recipe, and texts."""

from __future__ import annotations

import csv
from pathlib import Path

import torch

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.recipe.recipe import Recipe
from cellwire.exporter.recipe.recipe_file import read_recipe
from cellwire.exporter.runs.run_folder import RunFolder
from cellwire.exporter.training.compute import CPU
from cellwire.exporter.training.start import resume_training, start_training
from cellwire.exporter.training.training import Training

TEXT = "the quick brown fox jumps over the lazy dog. " * 40
SMALL = (
    "network.layers=1",
    "network.hidden=24",
    "network.embedding=8",
    "batches.lanes=4",
    "batches.window=16",
    "optimizer.learning_rate=0.02",
    "data.validation_fraction=0.1",
    "run.epochs=3",
    "run.validate_every=20",
    "run.sample_every=0",
    "run.sample_tokens=9",
)
LABELLED = ("data.kind=labelled", "data.symbols=words", "data.lower_case=true")


def recipe(*settings: str) -> Recipe:
    return read_recipe(None, [*SMALL, *settings])


def corpus(text: str = TEXT) -> Corpus:
    return Corpus(Path("fox.txt"), text.encode(), "0" * 64)


def new_training(path: Path, *settings: str, text: str = TEXT) -> Training:
    return start_training(corpus(text), recipe(*settings), path, None, CPU)[0]


def resumed_training(path: Path, text: str = TEXT) -> Training:
    return resume_training(RunFolder.open(path), corpus(text), CPU)[0]


def trained_run(path: Path, *settings: str, text: str = TEXT) -> RunFolder:
    new_training(path, *settings, text=text).run(lambda _: None)
    return RunFolder.open(path)


def reviews(path: Path, rows: int = 60, source: str = "imdb") -> Path:
    """Write a CSV of different reviews whose last word decides the label."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label", "source"])
        for row in range(rows):
            word = ("Bad", "Good")[row % 2]
            padding = "very " * (row % 7)
            writer.writerow([f"The film, no. {row},<br />is {padding}{word}", str(row % 2), source])
    return path


def assert_same_weights(a: RunFolder, b: RunFolder, name: str = "last.pt") -> None:
    first, second = a.load(name), b.load(name)
    assert first.step == second.step
    assert first.model.keys() == second.model.keys()
    for key, tensor in first.model.items():
        assert torch.equal(tensor, second.model[key]), key
