"""A text reads the same however it is cut, over scripts, Unicode forms and manifests."""

# ruff: noqa: RUF001  # letters of many scripts are what is tested

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.vocabulary import BEGINNING, TextEnd, Unknown, Vocabulary

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
    "&amp;&lt;br />#38;x<BR>&eacute; \n",
    "\ufeff\r\n \t\u2028\x85a&#13;",
    "<unk>sab <un ",
    "אב'\"1_ \u05b0",
)
TEXT = st.one_of(
    *(st.text(st.sampled_from(script), max_size=12) for script in SCRIPTS),
    st.text(st.sampled_from("".join(SCRIPTS)), max_size=10),
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
    *(
        "σ",
        "ς",
        " ο",
        "οδυσς",
        "é",
        " é",
        "e",
        "世",
        " 世",
        "界",
        "\u0301",
        " '",
        "&",
        " &",
        "br",
        "s",
    ),
)
CHARACTERS = (
    *("<?>", "a", "b", " ", "\n", ".", "'", "<", ">", "s", "u", "n", "k", "<unk>", "ab", "\u0301"),
    *("e", "é", "σ", "ς", "ο", "한", "\u1112", "世", "&", ";", "r", "m", "p", "E\u0301", "A"),
)


@st.composite
def vocabularies(draw: st.DrawFn) -> Vocabulary:
    kind = draw(st.sampled_from(["characters", "characters", "words", "words", "words", "bytes"]))
    separator = unknown = None
    symbols: tuple[str, ...] = ()
    if kind == "words":
        unknown, separator = "<unk>", draw(st.sampled_from(["", "", " "]))
        symbols = ("<unk>", *draw(st.sets(st.sampled_from(WORDS[1:]), min_size=1)))
    if kind == "characters":
        unknown = "<?>"
        symbols = ("<?>", *draw(st.sets(st.sampled_from(CHARACTERS[1:]), min_size=1)))
    return Vocabulary.of(
        VocabularyFacts(
            kind,  # type: ignore[arg-type]
            symbols,
            unknown,
            lower_case=draw(st.booleans()),
            unicode_form=draw(st.sampled_from(["", "", "NFC", "NFD", "NFKC", "NFKD"])),
            separator=separator or "",
            byte_order_mark=draw(st.sampled_from(["kept", "dropped"])),
            html=draw(st.booleans()),
            line_ends=draw(st.sampled_from(["kept", "line_feeds", "spaces"])),
            trim=draw(st.booleans()),
        )
    )


def read_in_parts(
    vocabulary: Vocabulary, parts: Sequence[str], unknown: Unknown
) -> tuple[list[int], TextEnd]:
    """Read parts one after the other, each with the end before it, as a session does."""
    tokens: list[int] = []
    end = BEGINNING
    for part in parts:
        expected = list(end.tokens)
        assert tokens[len(tokens) - len(expected) :] == expected
        reading = vocabulary.read(part, unknown, end)
        if not vocabulary.rereads:
            assert reading.tokens.tolist()[: len(expected)] == expected
        tokens[len(tokens) - len(expected) :] = reading.tokens.tolist()
        end = reading.end
    return tokens, end


@settings(max_examples=300)
@given(vocabularies(), st.lists(TEXT, min_size=1, max_size=5))
def test_a_text_cut_anywhere_reads_as_the_whole(vocabulary: Vocabulary, parts: list[str]) -> None:
    for unknown in (Unknown.SKIP, Unknown.REPLACE):
        whole = vocabulary.read("".join(parts), unknown)
        tokens, end = read_in_parts(vocabulary, parts, unknown)
        assert tokens == whole.tokens.tolist()
        assert end == whole.end
