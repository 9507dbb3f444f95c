"""What a user should know about a text before it is trained on."""

from __future__ import annotations

import unicodedata

import numpy as np

from cellwire.exporter.data.vocabulary import Tokens
from cellwire.model_file.vocabulary import Vocabulary

_HIGH_SHARE = 0.05  # of unknown words


def unknown_notes(vocabulary: Vocabulary, train: Tokens, held_out: Tokens) -> tuple[str, ...]:
    """Return the share of unknown words in both parts, with advice if it is high."""
    unknown = vocabulary.unknown_token
    if unknown is None:
        return ()
    shares = [float(np.mean(part == unknown)) if len(part) else 0.0 for part in (train, held_out)]
    note = (
        f"{len(vocabulary) - 1:,} words are known; unknown are {shares[0]:.1%} of the words to "
        f"train on, {shares[1]:.1%} of those held out."
    )
    if max(shares) <= _HIGH_SHARE:
        return (note,)
    return (
        note,
        _ADVICE,
    )


_ADVICE = (
    "That is much: what is unknown is never learnt and never written. A larger data.vocabulary or "
    "more text helps; models of characters or bytes (data.symbols) know every word."
)


class NormalForm:
    """Watches whether a text is in NFC, the form in which keyboards write."""

    def __init__(self) -> None:
        self._first: tuple[str, str] | None = None  # as it is written, and in NFC

    def look_at(self, text: str) -> None:
        """Look at a part of the text."""
        if self._first is None and not unicodedata.is_normalized("NFC", text):
            self._first = _first_change(text)

    def notes(self) -> tuple[str, ...]:
        """Return a warning if NFC would change the text."""
        if self._first is None:
            return ()
        written, usual = self._first
        codes = " ".join(f"U+{ord(character):04X}" for character in written)
        warning = (
            f"Warning: the text holds {usual!r} as {codes}, and keyboards write it in the form "
            "NFC: to the model, the two are different. To read both alike, train with --set "
            "data.unicode_form=NFC."
        )
        return (warning,)


def _first_change(text: str) -> tuple[str, str]:
    """Return the first characters that NFC changes, and what it makes of them."""
    start = 0
    for end in range(1, len(text) + 1):
        if end < len(text) and unicodedata.combining(text[end]):
            continue
        written = text[start:end]
        usual = unicodedata.normalize("NFC", written)
        if usual != written:
            return written, usual
        start = end
    return text, unicodedata.normalize("NFC", text)
