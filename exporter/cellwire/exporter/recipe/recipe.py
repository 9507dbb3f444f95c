"""A recipe: every setting of a training, by its name in a TOML file.

A file may leave out any setting. The defaults are the built-in recipe: a language model of
characters that reads consecutive windows and carries the state from each to the next. A default of
None is fitted to the text (see data/plan.py).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from cellwire.exporter.network.kinds import Kind
from cellwire.exporter.recipe.data import Data
from cellwire.exporter.recipe.settings import (
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Probability,
    Settings,
)

Order = Literal["carried", "random", "shuffled_rows"]
Clip = Literal["global_norm", "norm", "value", "none"]
OptimizerKind = Literal["adamw", "adam", "sgd", "rmsprop"]
Schedule = Literal["cosine", "constant", "step"]


class NetworkSettings(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The network."""

    cell: Kind = "lstm"
    layers: PositiveInt = 2
    hidden: PositiveInt = 256
    input: Literal["embedding", "one_hot", "vectors"] = "embedding"
    embedding: PositiveInt = 64  # width of the embedding; vectors have their own
    vectors: str | None = None  # a file in GloVe's text format, relative to the recipe
    freeze_vectors: bool = True
    dropout: Probability = 0.0  # between layers
    dropout_inputs: Probability = 0.0  # of the first layer's input
    dropout_outputs: Probability = 0.0  # of the last layer's output

    @property
    def has_dropout(self) -> bool:
        """Whether there is dropout anywhere."""
        return any((self.dropout, self.dropout_inputs, self.dropout_outputs))

    def __post_init__(self) -> None:
        """Refuse vectors without a file, and a file that is not used."""
        super().__post_init__()
        if (self.input == "vectors") != (self.vectors is not None):
            raise ValueError('input = "vectors" and a file of vectors go together')
        if "\0" in (self.vectors or ""):
            raise ValueError("vectors holds a zero byte, which no file name has")


class Batches(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """One step's batch. Labelled texts use `lanes` only."""

    order: Order = "carried"  # see data/windows.py
    lanes: PositiveInt | None = None  # batch size
    window: PositiveInt | None = None  # tokens in each lane
    loss: Literal["all", "last"] = "all"  # of all tokens of a window, or of the last one


class OptimizerSettings(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The optimizer, its learning rate and the clipping of gradients."""

    kind: OptimizerKind = "adamw"
    learning_rate: NonNegativeFloat = 4e-3  # of "cosine": the peak
    weight_decay: NonNegativeFloat = 0.01
    schedule: Schedule = "cosine"  # see training/optimizer.py
    step_epochs: PositiveInt = 1  # of "step": the epochs after which
    step_factor: NonNegativeFloat = 0.5  # the rate is multiplied by this
    clip: Clip = "global_norm"
    clip_at: PositiveFloat = 1.0


class RunSettings(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The length of the training, and its checkpoints and samples."""

    epochs: PositiveInt | None = None  # passes over the text
    steps: PositiveInt | None = None  # the last step, even within an epoch; None: no limit
    validate_every: PositiveInt | None = None  # steps; each validation writes a checkpoint
    keep_every: NonNegativeInt = 0  # checkpoints; one of so many is kept for good; 0: none
    sample_every: NonNegativeInt | None = None  # epochs; 0: never
    sample_prompts: tuple[str, ...] = ()  # none: the beginning of the text
    sample_tokens: PositiveInt = 200
    sample_temperature: NonNegativeFloat = 0.8  # 0: always the most likely token
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 1


_ONLY_TEXT = ("first_characters", "last_tokens")
_ONLY_LABELLED = (
    "delimiter",
    "head",
    "text_column",
    "label_column",
    "missing_labels",
    "length",
    "source",
)


class Recipe(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting of a training."""

    data: Data = Data()
    network: NetworkSettings = NetworkSettings()
    batches: Batches = Batches()
    optimizer: OptimizerSettings = OptimizerSettings()
    run: RunSettings = RunSettings()

    def __post_init__(self) -> None:
        """Refuse settings of different tables that contradict each other."""
        super().__post_init__()
        unused = _ONLY_TEXT if self.data.kind == "labelled" else _ONLY_LABELLED
        for name in unused:
            if getattr(self.data, name) != getattr(Data(), name):
                raise ValueError(f'data.{name} does not apply to data.kind = "{self.data.kind}"')
        if self.data.kind == "labelled":
            if self.run.sample_every:
                raise ValueError("run.sample_every: a classifier generates no text")
            if not self.data.validation_fraction:
                raise ValueError("data.validation_fraction: some labelled texts must be held out")
        if self.network.input == "vectors" and self.data.symbols != "words":
            raise ValueError('network.input = "vectors" needs data.symbols = "words"')


def to_tables(recipe: Recipe) -> dict[str, dict[str, object]]:
    """Return a recipe as tables of plain values, as in a TOML file."""
    tables: dict[str, dict[str, object]] = msgspec.to_builtins(recipe)
    return tables
