"""The vocabulary and the labels that a training takes over: of its base, or of the run resumed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.errors import CorpusError
from cellwire.model_file.vocabulary import Vocabulary

_MAX_SHOWN = 10


@dataclass(frozen=True, slots=True, eq=False)
class Known:
    """What the network can read and answer; a text may use a part of it, in any order."""

    vocabulary: Vocabulary
    labels: tuple[str, ...]

    def check_labels(self, labels: Sequence[str], corpus: Corpus) -> tuple[str, ...]:
        """Return all known labels; CorpusError names those of a file that are new."""
        new = [label for label in labels if label not in self.labels]
        if new:
            shown = ", ".join(map(repr, new[:_MAX_SHOWN])) + ", ..." * (len(new) > _MAX_SHOWN)
            raise CorpusError(
                f"{corpus.path}: the run to start from has no label {shown}; its labels are "
                f"{', '.join(map(repr, self.labels))}. Rename or remove these rows, or train "
                "without --start-from"
            )
        return self.labels
