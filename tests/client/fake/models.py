"""The models of the fake daemon."""

from __future__ import annotations

from string import ascii_lowercase

from cellwire.v1 import models_pb2

SYMBOLS = (*ascii_lowercase, " ")
LABELS = ("good", "bad")
SCORES = (0.75, 0.25)
GAP = 30.0
"""How much less probable a symbol is for each letter that it skips, in nats."""

ALPHABET = models_pb2.Model(
    name="alphabet",
    cell_kind="lstm",
    layer_count=2,
    hidden_size=26,
    vocabulary=models_pb2.Vocabulary(
        characters=models_pb2.Characters(symbols=SYMBOLS), size=len(SYMBOLS)
    ),
    state_bytes=416,
    provider="CPUExecutionProvider",
    training=models_pb2.Training(
        corpus="primer", step_count=3, validation_bits_per_character=0.125
    ),
    generates=True,
)
JUDGE = models_pb2.Model(
    name="judge",
    cell_kind="gru",
    layer_count=1,
    hidden_size=4,
    vocabulary=models_pb2.Vocabulary(bytes=models_pb2.Bytes(), size=256),
    provider="CPUExecutionProvider",
    labels=LABELS,
)
WORDS = models_pb2.Model(
    name="words",
    cell_kind="lstm",
    layer_count=1,
    hidden_size=4,
    vocabulary=models_pb2.Vocabulary(words=models_pb2.Words(symbols=SYMBOLS), size=len(SYMBOLS)),
    provider="CPUExecutionProvider",
    generates=True,
)
MODELS = (ALPHABET, JUDGE, WORDS)


def letters(after: str, count: int) -> str:
    """Return how the alphabet continues after a letter; after a space it begins anew."""
    start = ascii_lowercase.find(after) + 1
    return (ascii_lowercase * (count // 26 + 2))[start : start + count]


def distance(before: str, symbol: str) -> int:
    """Return how many letters a symbol skips; the space comes after all letters."""
    if symbol == " ":
        return 26
    return (ascii_lowercase.index(symbol) - ascii_lowercase.find(before) - 1) % 26


def log_probability(before: str, symbol: str) -> float:
    """Return the log-probability of a symbol after another, to within rounding."""
    return -GAP * distance(before, symbol) or 0.0


def basic(model: models_pb2.Model) -> models_pb2.Model:
    """Return a model in MODEL_VIEW_BASIC."""
    view = models_pb2.Model()
    view.CopyFrom(model)
    for kind in (view.vocabulary.characters, view.vocabulary.words):
        if kind.symbols:
            del kind.symbols[:]
    return view
