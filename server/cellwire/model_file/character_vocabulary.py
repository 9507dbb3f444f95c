"""The vocabulary of a model that reads and writes characters."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from functools import cached_property
from itertools import accumulate, chain

import numpy as np
import numpy.typing as npt

from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.names import Names
from cellwire.model_file.vocabulary import Tokens, Unknown, Vocabulary, unknown_symbol

Codes = npt.NDArray[np.uint32]

_FIRST_NAME_CODE = 0x110000  # the codes of names are behind Unicode's code points
_DECOMPOSED = {"NFC": "NFD", "NFKC": "NFKD"}


class Characters(Vocabulary):
    """Unicode code points, and longer symbols, which are read where a text has their names."""

    def __init__(self, facts: VocabularyFacts) -> None:
        super().__init__(facts)
        names = sorted(symbol for symbol in self._spelled if len(symbol) > 1)
        self._names = Names(names)
        self._name_codes = {name: _FIRST_NAME_CODE + i for i, name in enumerate(names)}
        by_code = {
            ord(symbol) if len(symbol) == 1 else self._name_codes[symbol]: token
            for symbol, token in self._spelled.items()
        }
        codes = np.array(list(by_code), np.uint32)
        order = np.argsort(codes)
        self._codes = codes[order]
        self._tokens: Tokens = np.array(list(by_code.values()), np.uint32)[order]

    def _tokens_of(self, text: str, unknown: Unknown) -> Tokens:
        codes = self._codes_of(text)
        places, known = self._look_up(codes)
        if known.all():
            tokens: Tokens = self._tokens[places]
            return tokens
        if unknown is Unknown.REPLACE and self.unknown_token is not None:
            return np.where(known, self._tokens[places], np.uint32(self.unknown_token))
        spellings = {int(code): self._spelling(chr(code)) for code in np.unique(codes[~known])}
        if unknown is Unknown.REJECT:
            self._check(codes, ~known, spellings)
        if not any(spellings.values()):
            return self._tokens[places][known]
        found = zip(codes.tolist(), self._tokens[places].tolist(), strict=True)
        parts = [spellings.get(code, (token,)) or () for code, token in found]
        return np.array([token for part in parts for token in part], np.uint32)

    def _look_up(self, codes: Codes) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.bool_]]:
        """Return the places of codes `[n]` among the symbols' codes, and whether they are there."""
        places = np.searchsorted(self._codes, codes).clip(max=len(self._codes) - 1)
        return places, self._codes[places] == codes

    def _codes_of(self, text: str) -> Codes:
        """Return the codes of characters and names, uint32 `[n]`."""
        if not self._names.appear_in(text):
            return _code_points(text)
        parts = [
            np.array([self._name_codes[part]], np.uint32) if named else _code_points(part)
            for part, named in self._parts(text)
        ]
        return np.concatenate(parts) if parts else np.zeros(0, np.uint32)

    def _parts(self, text: str) -> Iterator[tuple[str, bool]]:
        """Yield names, and what is between them, with whether it is a name."""
        end = 0
        for start, next_end in self._names.spans(text):
            if start > end:
                yield text[end:start], False
            yield text[start:next_end], True
            end = next_end
        if end < len(text):
            yield text[end:], False

    def _spelling(self, character: str) -> tuple[int, ...] | None:
        """Return the tokens of the parts that the Unicode form has joined to a character.

        The model may write these one by one. None if not all are symbols.
        """
        form = _DECOMPOSED.get(self.facts.unicode_form)
        if form is None:
            return None
        codes = _code_points(unicodedata.normalize(form, character))  # type: ignore[arg-type]
        places, known = self._look_up(codes)
        return tuple(self._tokens[places].tolist()) if known.all() else None

    def _check(
        self,
        codes: Codes,
        unknown: npt.NDArray[np.bool_],
        spellings: dict[int, tuple[int, ...] | None],
    ) -> None:
        """Raise UnknownSymbol if a code has no spelling."""
        strange = np.array([code for code, tokens in spellings.items() if tokens is None])
        places = np.flatnonzero(unknown & np.isin(codes, strange))
        if not places.size:
            return
        lengths = np.ones(len(codes), np.intp)
        for name, code in self._name_codes.items():
            lengths[codes == code] = len(name)
        offsets = np.cumsum(lengths) - lengths
        first_of_each = places[np.sort(np.unique(codes[places], return_index=True)[1])]
        raise unknown_symbol([(int(offsets[i]), chr(codes[i])) for i in first_of_each])

    def _spellings(self, text: str) -> list[Tokens]:
        """Return the tokens of a text, and those of its characters if it holds names."""
        found = [self._tokens_of(text, Unknown.REJECT)]
        if self._names:
            places, known = self._look_up(_code_points(text))
            if known.all():
                found.append(self._tokens[places])
        return found

    @cached_property
    def rereads(self) -> bool:
        """Whether what follows a text can change the tokens at its end."""
        return super().rereads or bool(self._names)

    @property
    def _reads_whole(self) -> bool:
        return bool(self._names)

    def _settled_places(self, text: str) -> Sequence[int]:
        if not self._names:
            return range(len(text) + 1)
        steps = chain.from_iterable(
            [len(part)] if named else [1] * len(part) for part, named in self._parts(text)
        )
        places = list(accumulate(steps, initial=0))
        unfinished = set(self._names.unfinished(text))
        first = next((i for i, place in enumerate(places) if place in unfinished), len(places))
        return places[: first + 1]


def _code_points(text: str) -> Codes:
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
