"""Texts of many scripts, and vocabularies of every kind and cleaning, for Hypothesis to draw."""

# ruff: noqa: RUF001  # letters of many scripts are what is tested

from __future__ import annotations

from hypothesis import strategies as st

from cellwire.model_file.manifest import UnicodeForm, VocabularyFacts
from cellwire.model_file.vocabulary import Vocabulary

# What joins to its neighbours, in one script each, and what is next to it in texts.
SCRIPTS = (
    "ab A.,'\u2019 \n",
    "eé\u0301\u0323E\u030a aå\u212b",
    "ΟΔΥΣσς. '\u0301İiI ",
    "한\u1112\u1161\u11ab글\uac00\u11a8 ",
    "क\u093f\u0915\u094d\u0937\u09c7\u09be\u09d7 ",
    "กำ\u0e48ไทย\u0e33 ",
    "世界,。ひカーｶﾞ 3.5",
    "\U0001f468\u200d\U0001f469\u2764\ufe0f\U0001f1e9\U0001f1ea\U0001f3fba ",
    "\ufeff\r\n \t\u2028\x85a",
    "<unk>sab ",
    "אב'\"1_ \u05b0",
)
SNIPPETS = (
    *("&amp;", "&lt", "&#38;", "&#x301;", "&#13;", "&notit;", "&", "<br />", "<BR>", "</br>", "<b"),
    *(
        "<unk>",
        "<s>",
        "<un",
        " <unk>",
        "\r\n",
        "  ",
        "ΟΔΥΣΣΕΥΣ ",
        "3.5",
        "it's",
        "\U0001f1e9\U0001f1ea",
    ),
)
TEXT = st.one_of(
    *(st.text(st.sampled_from(script), max_size=14) for script in SCRIPTS),
    st.text(st.sampled_from("".join(SCRIPTS)), max_size=14),
    st.lists(st.sampled_from((*SNIPPETS, *"ab .\n\u0301Σ")), max_size=8).map("".join),
)

WORDS = (
    *(
        "<unk>",
        " ",
        "\n",
        "a",
        " a",
        "ab",
        " ab",
        "b",
        ".",
        " .",
        "'",
        "<s>",
        "<",
        ">",
        "unk",
        " <",
    ),
    *("σ", "ς", " ο", "οδυσς", "é", " é", "e", "世", " 世", "界", " '", "&", " &", "br", "s", "3"),
    *("3.5", "it's", " it's", "\U0001f1e9\U0001f1ea", "क\u093f", "한글", " 한", "ไ"),
)
CHARACTERS = (
    *("<?>", "a", "b", " ", "\n", ".", "'", "<", ">", "s", "u", "n", "k", "<unk>", "ab", "\u0301"),
    *("e", "é", "σ", "ς", "ο", "한", "\u1112", "世", "&", ";", "r", "m", "p", "E\u0301", "A"),
)


@st.composite
def vocabularies(draw: st.DrawFn, *, foreign: bool = True) -> Vocabulary:
    """Draw a vocabulary; without `foreign`, one that a model may write with as it reads."""
    kind = draw(st.sampled_from(["characters", "characters", "words", "words", "words", "bytes"]))
    forms: list[UnicodeForm] = ["", "", "NFC", "NFD", "NFKC", "NFKD"]
    unknown, symbols = {"characters": ("<?>", CHARACTERS), "words": ("<unk>", WORDS)}.get(
        kind, (None, ())
    )
    separator = draw(st.sampled_from(["", "", " "])) if kind == "words" else ""
    if separator:  # white space comes from it then
        symbols = tuple(symbol for symbol in symbols if not symbol.startswith(separator))
    chosen = draw(st.sets(st.sampled_from(symbols[1:]), min_size=1)) if symbols else ()
    return Vocabulary.of(
        VocabularyFacts(
            kind,  # type: ignore[arg-type]
            () if unknown is None else (unknown, *sorted(chosen)),
            unknown,
            lower_case=draw(st.booleans()),
            unicode_form=draw(st.sampled_from(forms)),
            separator=separator,
            byte_order_mark=draw(st.sampled_from(["kept", "dropped"])),
            html=foreign and draw(st.booleans()),
            line_ends=draw(st.sampled_from(["kept", "line_feeds", *["spaces"] * foreign])),
            trim=foreign and draw(st.booleans()),
        )
    )
