"""The table `data` of a recipe."""

from __future__ import annotations

import codecs
from typing import Annotated, Literal

from msgspec import Meta

from cellwire.exporter.recipe.settings import MOST, NonNegativeInt, PositiveInt, Settings
from cellwire.model_file.manifest import UnicodeForm

DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "pipe": "|", "\\t": "\t"}
MISSING_LABELS = ("nan", "n/a", "na", "#n/a", "<na>", "null")
"""What spreadsheets and programs write where there is no label; an empty label is none, either."""


def _check_encoding(name: str) -> None:
    """Raise ValueError unless Python can decode text of this encoding in blocks."""
    try:
        codecs.getincrementaldecoder(name)
        b"a".decode(name)
    except UnicodeError:
        return  # the name is right; one byte need not be a character
    except (LookupError, ValueError) as error:
        raise ValueError(
            f"encoding is {name!r}, which is none; for example utf-8, utf-16, cp1252, shift_jis"
        ) from error


class Data(Settings, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """The text, what is done to it first, and how it is cut into symbols.

    The model file says what is done to a text, and the daemon does the same.
    """

    # labelled: a CSV file with a column of texts and one of labels; the network is a classifier
    kind: Literal["text", "labelled"] = "text"
    encoding: str | None = None  # None: UTF-8, or what a byte order mark says
    # bytes: those of UTF-8, of which none is ever unknown
    symbols: Literal["characters", "words", "bytes"] = "characters"
    html: bool | None = None  # entities become characters, <br> blanks; None: in labelled texts
    newlines: Literal["kept", "spaces"] = "kept"
    unicode_form: UnicodeForm = ""  # NFC: é as one character, as keyboards write it; "": as it is
    lower_case: bool = False
    first_characters: PositiveInt | None = None  # of the file; None: all
    # Of the training part; None: all.
    last_tokens: Annotated[int, Meta(ge=2, le=MOST)] | None = None
    # Held out for validation: the end of a text, or some of the labelled texts.
    validation_fraction: Annotated[float, Meta(ge=0, le=0.5)] = 0.05
    vocabulary: PositiveInt = 10_000  # of words: the most frequent ones that occur twice or more
    # Of labelled texts (see data/table.py and data/columns.py; None: found by itself):
    delimiter: str | None = None  # a character, or comma, semicolon, tab, pipe
    head: bool | None = None  # whether the first line names the columns
    text_column: str | PositiveInt | None = None  # its name, or its number from 1
    label_column: str | PositiveInt | None = None
    missing_labels: tuple[str, ...] = MISSING_LABELS  # of texts that are left out, in any case
    length: NonNegativeInt = 0  # their last tokens; 0: whole
    source: str | None = None  # only the texts of this source, by the column source; None: all

    def __post_init__(self) -> None:
        """Refuse encodings and delimiters that there are not."""
        super().__post_init__()
        if self.encoding is not None:
            _check_encoding(self.encoding)
        if self.delimiter is not None and self.delimiter_character is None:
            raise ValueError(
                f"delimiter is {self.delimiter!r}; it must be one character, or one of "
                f"{', '.join(DELIMITERS)}"
            )

    @property
    def delimiter_character(self) -> str | None:
        """The delimiter itself; None if it is to be found, or is none."""
        delimiter = DELIMITERS.get(self.delimiter or "", self.delimiter or "")
        usable = len(delimiter) == 1 and delimiter not in '"\\\r\n\0 '
        return delimiter if usable else None

    @property
    def reads_html(self) -> bool:
        """Whether entities become characters, and breaks blanks."""
        return self.kind == "labelled" if self.html is None else self.html
