"""What `cellwire train` says before it trains."""

from __future__ import annotations

from collections.abc import Iterator

from cellwire.exporter.training.training import Training


def introduction(training: Training) -> Iterator[str]:
    """Yield sentences on a training's text, its network and its length."""
    config, dataset, recipe = training.config, training.dataset, training.config.recipe
    train_part = f"{dataset.train_tokens:,} {recipe.data.symbols}"
    batch = f"{recipe.batches.lanes} x {recipe.batches.window} {recipe.data.symbols}"
    amount, labels = train_part, ""
    if config.labels:
        amount = f"{len(dataset.train):,} texts ({train_part})"
        batch = f"{recipe.batches.lanes} texts"
        labels = f"; labels: {', '.join(config.labels)}"
    yield (
        f"{config.corpus}: {len(config.symbols):,} symbols, {amount} to train on, "
        f"{len(dataset.validation):,} held out{labels}"
    )
    yield from dataset.notes
    size = f"{recipe.network.layers} x {recipe.network.hidden} {recipe.network.cell}"
    yield (
        f"{size}, {training.network.parameter_count:,} parameters for {train_part}: "
        f"{training.steps:,} steps of {batch} ({recipe.run.epochs:,} epochs)"
    )
