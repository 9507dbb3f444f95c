"""The start of a training, from a text and a recipe, and its resumption from a run folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.dataset import Dataset
from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.data.plan import fit_to_examples, fit_to_text
from cellwire.exporter.recipe.recipe import Recipe
from cellwire.exporter.runs.run_config import RunConfig
from cellwire.exporter.runs.run_folder import RunFolder
from cellwire.exporter.training.base_run import known_to
from cellwire.exporter.training.compute import Compute
from cellwire.exporter.training.pretrained import PretrainedEmbedding
from cellwire.exporter.training.training import Training


def start_training(
    corpus: Corpus, recipe: Recipe, out: Path, start_from: Path | None, compute: Compute
) -> tuple[Training, str]:
    """Create a run folder; return its training, and a description of its initial weights.

    ExporterError names what is wrong with the arguments, before the folder is created.
    """
    RunFolder.check_new(out)
    known = known_to(start_from, recipe)
    dataset = Dataset.of(corpus, recipe.data, known)
    pretrained = PretrainedEmbedding.for_recipe(recipe, dataset.vocabulary)
    config = RunConfig(
        recipe=_fit(recipe, dataset, pretrained),
        corpus=corpus.name,
        corpus_sha256=corpus.sha256,
        symbols=dataset.vocabulary.facts.symbols,
        labels=dataset.labels,
        start_from=str(start_from.resolve()) if start_from else None,
        separator=dataset.vocabulary.facts.separator,
        characters_per_token=dataset.characters_per_token,
    )
    training = Training(RunFolder(out), config, dataset, compute)
    description = _initialize(training, config, pretrained)
    RunFolder.create(out, config)
    return training, description


def resume_training(run: RunFolder, corpus: Corpus, compute: Compute) -> tuple[Training, str]:
    """Return a run's training at its last checkpoint, and a description of that point."""
    config = run.config
    config.check_corpus(corpus)
    dataset = Dataset.of(corpus, config.recipe.data, config.known)
    training = Training(run, config, dataset, compute)
    if training.resume():
        return training, f"resuming after step {training.step:,} of {training.steps:,}"
    run.truncate_logs({})
    pretrained = PretrainedEmbedding.for_recipe(config.recipe, dataset.vocabulary)
    return training, _initialize(training, config, pretrained)


def _fit(recipe: Recipe, dataset: Dataset, pretrained: PretrainedEmbedding | None) -> Recipe:
    """Return a recipe whose settings are all chosen."""
    if pretrained:
        width = pretrained.table.shape[1]
        network = msgspec.structs.replace(recipe.network, embedding=width)
        recipe = msgspec.structs.replace(recipe, network=network)
    if isinstance(dataset.train, Examples):
        return fit_to_examples(recipe, len(dataset.train))
    return fit_to_text(recipe, len(dataset.train))


def _initialize(
    training: Training, config: RunConfig, pretrained: PretrainedEmbedding | None
) -> str:
    """Set initial weights that are not random; return a description of them."""
    if config.start_from:
        training.load_weights(RunFolder.open(Path(config.start_from)))
        return f"starting with the weights of {config.start_from}"
    if pretrained:
        training.set_embedding(pretrained.table)
        known = f"{pretrained.known_words:,} of {len(config.symbols):,}"
        return f"starting with word vectors, which {known} words have"
    return ""
