"""The configuration of a run, which is the config.json of its folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.known import Known
from cellwire.exporter.data.vocabulary import facts_for
from cellwire.exporter.errors import RunError
from cellwire.exporter.network.network import NetworkShape
from cellwire.exporter.recipe.recipe import Recipe, to_tables
from cellwire.model_file.vocabulary import Vocabulary


class RunConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A recipe fitted to its text, the text's symbols, and its checksum."""

    recipe: Recipe  # without settings that are still to be chosen
    corpus: str
    corpus_sha256: str
    symbols: tuple[str, ...]  # a token is an index into them; none for bytes
    labels: tuple[str, ...] = ()  # likewise; empty unless the network is a classifier
    start_from: str | None = None  # another run, whose best weights are the initial ones
    separator: str = " "  # of words: older runs, which do not say it, have a blank
    characters_per_token: float | None = None  # of what is held out; older runs do not say it

    @property
    def shape(self) -> NetworkShape:
        """The size of the network."""
        network = self.recipe.network
        return NetworkShape(
            cell=network.cell,
            vocabulary=len(self.vocabulary),
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
        """The vocabulary of the network."""
        return Vocabulary.of(facts_for(self.recipe.data, self.symbols, self.separator))

    @property
    def known(self) -> Known:
        """What a training takes over that resumes the run or starts from it."""
        return Known(self.vocabulary, self.labels)

    @property
    def unit(self) -> str:
        """The unit of one prediction: a text, a character, a word or a byte."""
        return "text" if self.labels else self.recipe.data.symbols.removesuffix("s")

    @property
    def tables(self) -> dict[str, dict[str, object]]:
        """The recipe as tables of plain values; paths in it are reduced to their last part."""
        tables = to_tables(self.recipe)
        if self.recipe.network.vectors:
            tables["network"]["vectors"] = Path(self.recipe.network.vectors).name
        if self.start_from:
            tables["run"]["start_from"] = Path(self.start_from).name
        return tables

    def check_corpus(self, corpus: Corpus) -> None:
        """Raise RunError unless `corpus` is the text that the run was started with."""
        if corpus.sha256 != self.corpus_sha256:
            raise RunError(
                f"{corpus.name} is not the text this run was started with ({self.corpus}, "
                f"sha256 {self.corpus_sha256[:12]})"
            )
