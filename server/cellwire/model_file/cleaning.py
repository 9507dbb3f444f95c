"""What is done to a text before it is cut into symbols, as the manifest says.

In this order: a byte order mark is dropped, HTML becomes text, line ends become line feeds or
spaces, white space at both ends is left out, the text is brought into a Unicode form, and into
lower case.
"""

from __future__ import annotations

import html
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import regex

from cellwire.model_file.manifest import VocabularyFacts

BYTE_ORDER_MARK = "\ufeff"

_BREAK_OR_ENTITY = regex.compile(
    r"</?[Bb][Rr]\s*/?>|&(?:\#[0-9]+;?|\#[xX][0-9a-fA-F]+;?|[^\t\n\f <&#;]{1,32};?)"
)
# What may become one of these when more characters follow.
_UNFINISHED = regex.compile(
    r"(?:</?(?:[Bb](?:[Rr](?:\s*/?)?)?)?"
    r"|&(?:\#(?:[0-9]*|[xX][0-9a-fA-F]*)|[^\t\n\f <&#;]{0,32}))\Z"
)
_LINE_END = regex.compile(r"\r\n?|\n")
_TWO_CHARACTER_LINE_END = regex.compile(r"\r\n")
_WIDENED_BY_LOWER_CASE = regex.compile("\u0130")  # the only letter whose lower case is longer
_SIGMA = "\u03a3"  # its lower case depends on the letters around it
_SIGMA_BEFORE = regex.compile(rf"{_SIGMA}\p{{Case_Ignorable}}*+\Z")
_BESIDE_LETTERS = regex.compile(r"[\p{Cased}\p{Case_Ignorable}]")
_SIGMA_OR_IGNORED = regex.compile(rf"[{_SIGMA}\p{{Case_Ignorable}}]")
# Characters that a Unicode form can join to what is before them, or change the order of.
_JOINING = (
    r"[\p{M}\p{NFC_QC=No}\p{NFC_QC=Maybe}\u1100-\u11ff\ua960-\ua97f\ud7b0-\ud7ff\uff9e-\uffdc]"
)
_CHANGEABLE = regex.compile(rf"(?s:.){_JOINING}++|[^\0-\x7f]")
_JOINS = regex.compile(_JOINING)

_Edit = tuple[int, int, int]
"""Start and end of some characters, and how many characters stand for them afterwards."""


@dataclass(frozen=True, slots=True)
class _Stage:
    """One of the things that are done to a text."""

    apply: Callable[[str], str]
    edits: Callable[[str], Iterable[_Edit]]  # ascending; all other characters stay one by one
    settled: Callable[[str, int], bool]
    """Whether nothing that follows the text changes what is before an offset in it, and the rest
    comes out alone as it does in the whole."""


class Cleaning:
    """The cleaning of texts, as a manifest says."""

    def __init__(self, facts: VocabularyFacts) -> None:
        self._first: list[_Stage] = []  # before white space at the ends is left out
        self._last: list[_Stage] = []
        if facts.html:
            self._first.append(_HTML)
        if facts.line_ends != "kept":
            self._first.append(_LINE_FEEDS if facts.line_ends == "line_feeds" else _SPACES)
        if facts.unicode_form:
            self._last.append(_unicode_form(facts.unicode_form))
        if facts.lower_case:
            self._last.append(_LOWER_CASE)
        self._drops_mark = facts.byte_order_mark == "dropped"
        self._trims = facts.trim
        self._reads_html = facts.html
        self.is_local = not self._last and not facts.html
        """Whether a character is never read otherwise because of what follows it."""

    def clean(self, text: str, *, beginning: bool = True) -> str:
        """Return what the model reads of a text; `beginning` if nothing is before it."""
        for stage in self._stages(beginning=beginning):
            text = stage.apply(text)
        return text

    def clean_part(self, text: str) -> str:
        """Return what the model reads of a part of a text, such as a stop string."""
        for stage in (*self._first, *self._last):
            text = stage.apply(text)
        return text

    def clean_symbol(self, symbol: str) -> str:
        """Return a symbol in the Unicode form and the case of texts."""
        for stage in self._last:
            symbol = stage.apply(symbol)
        return symbol

    def length_without_unfinished_html(self, text: str) -> int:
        """Return how much of a text is before the break or entity that it ends within."""
        unfinished = _UNFINISHED.search(text) if self._reads_html else None
        return len(text) if unfinished is None else unfinished.start()

    def original_offset(self, text: str, offset: int, *, beginning: bool = True) -> int:
        """Return where in `text` is what stands at an offset of the cleaned text."""
        for stage, given in reversed(self._steps(text, beginning=beginning)):
            offset, _ = _before(stage.edits(given), offset)
        return offset

    def settled_length(
        self, text: str, *, beginning: bool = True, places: Callable[[str], Sequence[int]]
    ) -> int:
        """Return the last offset in `text` at which its reading is settled; 0 if there is none.

        Nothing that follows the text changes what is read of it before this offset, and reading can
        begin anew there. `places` returns where that is so in a cleaned text, ascending.
        """
        steps = self._steps(text, beginning=beginning)
        cleaned = steps[-1][0].apply(steps[-1][1]) if steps else text
        backwards = [(stage, given, list(stage.edits(given))) for stage, given in reversed(steps)]
        for place in reversed(places(cleaned)):
            offset: int | None = place
            for stage, given, edits in backwards:
                offset = _settled_before(stage, given, edits, offset)
                if offset is None:
                    break
            else:
                return offset or 0
        return 0

    def _steps(self, text: str, *, beginning: bool) -> list[tuple[_Stage, str]]:
        """Return the stages, each with the text that is given to it."""
        steps = []
        for stage in self._stages(beginning=beginning):
            steps.append((stage, text))
            text = stage.apply(text)
        return steps

    def _stages(self, *, beginning: bool) -> Iterator[_Stage]:
        if beginning and self._drops_mark:
            yield _MARK
        yield from self._first
        if self._trims:
            yield _TRIM if beginning else _TRIM_END
        yield from self._last


def _settled_before(
    stage: _Stage, given: str, edits: Sequence[_Edit], offset: int | None
) -> int | None:
    """Return where an offset behind a stage is before it; None if it is not settled there."""
    assert offset is not None
    place, exact = _before(edits, offset)
    return place if exact and stage.settled(given, place) else None


def _before(edits: Iterable[_Edit], offset: int) -> tuple[int, bool]:
    """Return where an offset was before `edits`, and whether it is at an end of an edit or outside.

    Inside of what was edited, this is where that began.
    """
    shift = 0
    for start, end, length in edits:
        if offset + shift < start:
            break
        if offset + shift < start + length:
            return start, offset + shift == start
        shift += end - start - length
    return offset + shift, True


def _matches(
    pattern: regex.Pattern[str], replace: Callable[[str], str]
) -> Callable[[str], Iterator[_Edit]]:
    """Return a function that yields the edits of a stage that replaces what matches."""

    def edits(text: str) -> Iterator[_Edit]:
        for match in pattern.finditer(text):
            yield match.start(), match.end(), len(replace(match[0]))

    return edits


def _character(match: str) -> str:
    return " " if match[0] == "<" else html.unescape(match)


def _html_is_settled(text: str, place: int) -> bool:
    unfinished = _UNFINISHED.search(text)
    return unfinished is None or place <= unfinished.start()


def _line_trim_is_settled(text: str, place: int) -> bool:
    return text[place - 1 : place] != "\r" or text[place : place + 1] not in {"", "\n"}


def _form_is_settled(text: str, place: int) -> bool:
    return place == 0 or (place < len(text) and not _JOINS.match(text, place))


def _case_is_settled(text: str, place: int) -> bool:
    if place == 0 or not _BESIDE_LETTERS.match(text, place - 1):
        return True
    if place == len(text) or _SIGMA_OR_IGNORED.match(text, place):
        return False
    return not _SIGMA_BEFORE.search(text, 0, place)


def _trim_is_settled(text: str, place: int) -> bool:
    # White space is left out if nothing but white space follows, such as what "&" may become.
    return place == 0 or not text[place - 1].isspace()


def _trimmed(text: str) -> Iterator[_Edit]:
    if leading := len(text) - len(text.lstrip()):
        yield 0, leading, 0


def _without_mark(text: str) -> str:
    return text.removeprefix(BYTE_ORDER_MARK)


def _line_feeds(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n") if "\r" in text else text


def _unicode_form(form: Literal["NFC", "NFD", "NFKC", "NFKD"]) -> _Stage:
    def normalised(text: str) -> str:
        return unicodedata.normalize(form, text)

    def edits(text: str) -> Iterator[_Edit]:
        for start, end, length in _matches(_CHANGEABLE, normalised)(text):
            if text[start:end] != normalised(text[start:end]):
                yield start, end, length

    return _Stage(normalised, edits, _form_is_settled)


_MARK = _Stage(
    _without_mark,
    lambda text: [(0, 1, 0)] if text.startswith(BYTE_ORDER_MARK) else [],
    lambda _, place: place > 0,
)
_HTML = _Stage(
    lambda text: _BREAK_OR_ENTITY.sub(lambda match: _character(match[0]), text),
    _matches(_BREAK_OR_ENTITY, _character),
    _html_is_settled,
)
_LINE_FEEDS = _Stage(
    _line_feeds, _matches(_TWO_CHARACTER_LINE_END, lambda _: "\n"), _line_trim_is_settled
)
_SPACES = _Stage(
    lambda text: _LINE_END.sub(" ", text),
    _matches(_TWO_CHARACTER_LINE_END, lambda _: " "),
    _line_trim_is_settled,
)
_TRIM = _Stage(str.strip, _trimmed, _trim_is_settled)
_TRIM_END = _Stage(str.rstrip, lambda _: (), _trim_is_settled)
_LOWER_CASE = _Stage(str.lower, _matches(_WIDENED_BY_LOWER_CASE, str.lower), _case_is_settled)
