"""The vocabulary of a model that reads and writes bytes."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from functools import cached_property

import numpy as np

from cellwire.model_file.manifest import BYTES
from cellwire.model_file.vocabulary import Tokens, Unknown, Vocabulary

_ASCII = 128


class Bytes(Vocabulary):
    """The 256 bytes; text is read and written as UTF-8."""

    def _tokens_of(self, text: str, unknown: Unknown) -> Tokens:  # noqa: ARG002  # no byte is unknown
        return self.encode_bytes(text.encode())

    def encode_bytes(self, data: bytes) -> Tokens:
        """Return the bytes themselves as tokens, uint32 `[len(data)]`."""
        return np.frombuffer(data, np.uint8).astype(np.uint32)

    def _settled_places(self, text: str) -> range:
        return range(len(text) + 1)

    def symbol(self, token: int) -> str:
        """Return a byte as a character, or its name, such as <0xC3>, if it is none by itself."""
        return chr(token) if token < _ASCII else f"<0x{token:02X}>"

    @cached_property
    def _tokens_by_name(self) -> dict[str, int]:
        names = {f"<0x{byte:02X}>": byte for byte in range(BYTES)}
        return names | {chr(byte): byte for byte in range(_ASCII)}

    def text(self, tokens: Sequence[int]) -> tuple[str, int]:
        """Return bytes as text, and the number of bytes at their end that begin a character."""
        text, consumed = codecs.utf_8_decode(bytes(tokens), "replace", False)  # noqa: FBT003
        return text, len(tokens) - consumed

    @cached_property
    def in_words(self) -> frozenset[int]:
        """The bytes of ASCII letters and digits, and all bytes beyond ASCII."""
        ascii_bytes = (byte for byte in super().in_words if byte < _ASCII)
        return frozenset((*ascii_bytes, *range(_ASCII, BYTES)))
