"""How a training begins, or goes on: from a text and a recipe, or from a run folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.dataset import Dataset
from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.data.plan import settled_for_examples, settled_for_text
from cellwire.exporter.recipe.recipe import Recipe
from cellwire.exporter.runs.run_config import RunConfig
from cellwire.exporter.runs.run_folder import LAST, Run
from cellwire.exporter.training.compute import Compute
from cellwire.exporter.training.pretrained import Pretrained
from cellwire.exporter.training.training import Training


def begin(
    corpus: Corpus, recipe: Recipe, out: Path, start_from: Path | None, compute: Compute
) -> tuple[Training, str]:
    """Make a run folder; return its training, and in words what it begins with.

    Whatever can be wrong with what was asked for is found before there is a folder.
    """
    dataset = Dataset.of(corpus, recipe.data)
    pretrained = Pretrained.for_recipe(recipe, dataset.vocabulary)
    recipe = _settled(recipe, dataset, pretrained)
    config = RunConfig(
        recipe=recipe,
        corpus=corpus.name,
        corpus_sha256=corpus.sha256,
        symbols=dataset.vocabulary.symbols,
        labels=dataset.labels,
        start_from=str(start_from.resolve()) if start_from else None,
    )
    training = Training(Run(out), config, dataset, compute)
    how = _first_weights(training, config, pretrained)
    Run.create(out, config)
    return training, how


def go_on(run: Run, corpus: Corpus, compute: Compute) -> tuple[Training, str]:
    """Return the training of a run, where its last checkpoint left it, and in words where."""
    config = run.config
    config.check_corpus(corpus)
    dataset = Dataset.of(corpus, config.recipe.data)
    training = Training(run, config, dataset, compute)
    if run.has(LAST):
        training.resume()
        return training, f"going on after step {training.step:,} of {training.steps:,}"
    run.cut_logs({})
    pretrained = Pretrained.for_recipe(config.recipe, dataset.vocabulary)
    return training, _first_weights(training, config, pretrained)


def _settled(recipe: Recipe, dataset: Dataset, pretrained: Pretrained | None) -> Recipe:
    """Return a recipe in which nothing is left open."""
    if pretrained:
        width = pretrained.table.shape[1]
        network = msgspec.structs.replace(recipe.network, embedding=width)
        recipe = msgspec.structs.replace(recipe, network=network)
    if isinstance(dataset.train, Examples):
        return settled_for_examples(recipe, len(dataset.train))
    return settled_for_text(recipe, len(dataset.train))


def _first_weights(training: Training, config: RunConfig, pretrained: Pretrained | None) -> str:
    if config.start_from:
        training.start_from(Run.open(Path(config.start_from)))
        return f"beginning with the weights of {config.start_from}"
    if pretrained:
        training.start_with(pretrained.table)
        known = f"{pretrained.found:,} of {len(config.symbols):,}"
        return f"beginning with word vectors, which {known} words have"
    return ""
