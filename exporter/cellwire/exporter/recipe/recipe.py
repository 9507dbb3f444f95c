"""A recipe: every setting of a training, as its TOML file names them.

A file may leave out whatever is to stay as it is here. The defaults are the built-in recipe: a
language model of characters, read in consecutive windows whose state is carried from each to the
next. What is None by default is fitted to the text (see plan.py).
"""

from __future__ import annotations

import math
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct

from cellwire.exporter.network.kinds import Kind

Count = Annotated[int, Meta(ge=1)]
CountOrNone = Annotated[int, Meta(ge=0)]  # 0: none
Share = Annotated[float, Meta(ge=0, lt=1)]
Number = Annotated[float, Meta(ge=0)]

Order = Literal["carried", "random", "shuffled_rows"]
Clip = Literal["global_norm", "norm", "value", "none"]
Optimizing = Literal["adamw", "adam", "sgd", "rmsprop"]
Schedule = Literal["cosine", "constant", "step"]


class Settings(Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What all tables of a recipe have in common."""

    def __post_init__(self) -> None:
        """Refuse what is not finite: it passes a range without an end and has no place in JSON."""
        for name in self.__struct_fields__:
            value = getattr(self, name)
            if isinstance(value, float) and not math.isfinite(value):
                raise ValueError(f"{name} is {value}, and must be a finite number")


class Data(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is read, and how it is cut into symbols."""

    # "labelled": a CSV file with the columns text, label and, if it likes, source; the network
    # reads each text and says its label
    kind: Literal["text", "labelled"] = "text"
    symbols: Literal["characters", "words"] = "characters"
    lower_case: bool = False
    newlines: Literal["kept", "spaces"] = "kept"
    first_chars: Count | None = None  # of the file; None: all
    last_chars: Annotated[int, Meta(ge=2)] | None = None  # of what is learnt from; None: all
    validation_share: Annotated[float, Meta(ge=0, le=0.5)] = 0.05  # held out; of a text, its end
    vocabulary: Count = 10_000  # of words: the most frequent ones
    length: CountOrNone = 0  # of labelled texts: their last symbols; 0: whole
    source: str | None = None  # of labelled texts: only those of this source; None: all


class NetworkSettings(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What is trained."""

    cell: Kind = "lstm"
    layers: Count = 2
    hidden: Count = 256
    input: Literal["embedding", "one_hot", "vectors"] = "embedding"
    embedding: Count = 64  # numbers in a symbol's embedding; vectors bring their own width
    vectors: str | None = None  # a file in GloVe's text format, as seen from the recipe
    freeze_vectors: bool = True
    dropout: Share = 0.0  # between layers
    dropout_inputs: Share = 0.0  # of what the first layer reads
    dropout_outputs: Share = 0.0  # of what the last layer gives

    @property
    def drops(self) -> bool:
        """Whether there is dropout anywhere."""
        return any((self.dropout, self.dropout_inputs, self.dropout_outputs))

    def __post_init__(self) -> None:
        """Refuse vectors without a file, and a file that nothing reads."""
        super().__post_init__()
        if (self.input == "vectors") != (self.vectors is not None):
            raise ValueError('input = "vectors" and a file of vectors go together')


class Batches(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What one step of the optimizer sees. Of labelled texts, only `lanes` counts."""

    order: Order = "carried"  # see windows.py
    lanes: Count | None = None  # batch size
    window: Count | None = None  # symbols in each lane
    loss: Literal["all", "last"] = "all"  # of which symbols of a window


class OptimizerSettings(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How weights follow their gradients."""

    kind: Optimizing = "adamw"
    learning_rate: Number = 4e-3  # of "cosine", its peak
    weight_decay: Number = 0.01
    schedule: Schedule = "cosine"  # see optimizer.py
    step_epochs: Count = 1  # of "step": after every so many epochs,
    step_factor: Number = 0.5  # the rate is multiplied by this
    clip: Clip = "global_norm"
    clip_at: Annotated[float, Meta(gt=0)] = 1.0


class RunSettings(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How long it takes, and what is written on the way."""

    epochs: Count | None = None  # passes over the text
    steps: Count | None = None  # the end, even within an epoch; None: the end of the last epoch
    validate_every: Count | None = None  # steps; each validation writes a checkpoint
    keep_every: CountOrNone = 0  # every so many checkpoints, one is kept for good; 0: none
    sample_every: CountOrNone | None = None  # epochs; 0: never
    sample_prefixes: tuple[str, ...] = ()  # none: how the text begins
    sample_chars: Count = 200
    sample_temperature: Number = 0.8  # 0: always the most likely symbol
    seed: Annotated[int, Meta(ge=0, lt=2**32)] = 1


_OF_TEXTS, _OF_LABELLED = ("first_chars", "last_chars", "newlines"), ("length", "source")


class Recipe(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Every setting of a training."""

    data: Data = Data()
    network: NetworkSettings = NetworkSettings()
    batches: Batches = Batches()
    optimizer: OptimizerSettings = OptimizerSettings()
    run: RunSettings = RunSettings()

    def __post_init__(self) -> None:
        """Refuse what does not go together across tables."""
        super().__post_init__()
        ignored = _OF_TEXTS if self.data.kind == "labelled" else _OF_LABELLED
        for name in ignored:
            if getattr(self.data, name) != getattr(Data(), name):
                raise ValueError(f'data.{name} means nothing for data.kind = "{self.data.kind}"')
        if self.data.kind == "labelled":
            if self.run.sample_every:
                raise ValueError("run.sample_every: a network that classifies writes no text")
            if not self.data.validation_share:
                raise ValueError("data.validation_share: labelled texts need some held out")
        if self.network.input == "vectors" and self.data.symbols != "words":
            raise ValueError('network.input = "vectors" needs data.symbols = "words"')


def builtins_of(recipe: Recipe) -> dict[str, dict[str, object]]:
    """Return a recipe as tables of plain values, as they stand in its file."""
    tables: dict[str, dict[str, object]] = msgspec.to_builtins(recipe)
    return tables
