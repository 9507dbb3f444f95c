"""A model that the daemon serves."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Training:
    """How a model was trained."""

    corpus: str
    """The name of the corpus."""
    step_count: int
    """The number of optimizer steps."""
    validation_bits_per_character: float
    parity_error: float
    """The greatest difference between the model file's output and the trained network's, relative
    to the greatest output where that is above 1."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The symbols of a model."""

    kind: str
    """"characters", "bytes" (text is UTF-8) or "words"; empty for a kind this client lacks."""
    size: int
    """The number of symbols."""
    symbols: tuple[str, ...] = ()
    """In the order of their ids. Only `Client.model` returns them; empty for bytes."""
    separator: str = ""
    """What is written before a word; empty if symbols join to texts as they are."""
    unknown_symbol: str | None = None
    """Stands for symbols outside the vocabulary; None if the model has no such symbol."""
    lower_case: bool = False
    """Whether text is converted to lower case before the model reads it."""
    unicode_form: str = ""
    """The normalisation form that text is converted to, for example "NFC"; empty for none."""
    drops_byte_order_mark: bool = False
    """Whether a byte order mark at the beginning of a text is left out."""
    reads_html: bool = False
    """Whether HTML's entities become characters, and its line breaks blanks."""
    line_ends: str = ""
    """What line ends become: "line_feeds" or "spaces"; empty if they stay as they are."""
    trims: bool = False
    """Whether white space at both ends of a text is left out."""
    rereads: bool = False
    """Whether what follows a text can change how its end is read."""

    @property
    def beginning(self) -> str:
        """A text to begin with where there is none: a model writes only after some text.

        A line feed if that is a symbol which is read, otherwise the first symbol that begins a
        word, or else the first of all. Empty if the symbols are not known; see `symbols`.
        """
        if self.kind == "bytes" or ("\n" in self.symbols and not self.trims):
            return "\n"
        written = [symbol for symbol in self.symbols if symbol != self.unknown_symbol]
        words = [symbol for symbol in written if symbol[:1].isalpha()]
        after_blank = [symbol for symbol in written if symbol[1:2].isalpha()]
        return next(iter([*words, *after_blank, *written]), "")


@dataclass(frozen=True, slots=True)
class Model:
    """A model that the daemon serves."""

    name: str
    sha256: str
    """Of the model file, in hexadecimal."""
    cell_kind: str
    """For example "lstm"."""
    layer_count: int
    hidden_size: int
    """Units in each layer."""
    vocabulary: Vocabulary
    state_bytes: int
    """The size of one session's state."""
    provider: str
    """The ONNX Runtime execution provider, for example "CPUExecutionProvider"."""
    training: Training | None = None
    """None if the model file does not say."""
    labels: tuple[str, ...] = ()
    """What the model classifies with; empty for a model without a classifier."""
    generates: bool = True
    """Whether the model generates text, and so supports generate, complete and score."""
