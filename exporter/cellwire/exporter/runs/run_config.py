"""What a training run was asked for, and what it read: the config.json of its folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.vocabulary import Vocabulary, vocabulary_of
from cellwire.exporter.errors import RunError
from cellwire.exporter.network.network import NetworkShape
from cellwire.exporter.recipe.recipe import Recipe, builtins_of


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a training run was asked for, and what it read."""

    recipe: Recipe  # with everything settled that was to be fitted to the text
    corpus: str
    corpus_sha256: str
    symbols: tuple[str, ...]  # in the order of their ids
    labels: tuple[str, ...] = ()  # likewise; none unless the network classifies
    start_from: str | None = None  # another run, whose best weights were the first of this one

    @property
    def shape(self) -> NetworkShape:
        """The size of the network."""
        network = self.recipe.network
        return NetworkShape(
            cell=network.cell,
            vocabulary=len(self.symbols),
            embedding=None if network.input == "one_hot" else network.embedding,
            hidden=network.hidden,
            layers=network.layers,
            dropout=network.dropout,
            labels=len(self.labels),
            dropout_inputs=network.dropout_inputs,
            dropout_outputs=network.dropout_outputs,
        )

    @property
    def vocabulary(self) -> Vocabulary:
        """The symbols of the network."""
        data = self.recipe.data
        return vocabulary_of(data.symbols, self.symbols, lower_case=data.lower_case)

    @property
    def unit(self) -> str:
        """What one prediction is of."""
        return "text" if self.labels else self.recipe.data.symbols.removesuffix("s")

    @property
    def tables(self) -> dict[str, dict[str, object]]:
        """The recipe as tables of plain values; of files and runs it names, only the last part."""
        tables = builtins_of(self.recipe)
        if self.recipe.network.vectors:
            tables["network"]["vectors"] = Path(self.recipe.network.vectors).name
        if self.start_from:
            tables["run"]["start_from"] = Path(self.start_from).name
        return tables

    def check_corpus(self, corpus: Corpus) -> None:
        """Raise RunError unless `corpus` is the text the run was started with."""
        if corpus.sha256 != self.corpus_sha256:
            raise RunError(
                f"{corpus.name} is not the text this run was started with ({self.corpus}, "
                f"sha256 {self.corpus_sha256[:12]})"
            )
