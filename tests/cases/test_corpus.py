"""Kind I: the taking in of a corpus, in the encodings and sizes that people have."""

from __future__ import annotations

import importlib.util
import re
import shutil
import subprocess
import tracemalloc
from pathlib import Path
from typing import Literal

import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("training needs the train extra", allow_module_level=True)

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.exporter.texts import corpus_of

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.dataset import Dataset
from cellwire.exporter.data.vocabulary import decode
from cellwire.exporter.errors import CorpusError, RecipeError
from cellwire.exporter.recipe.data import Data
from cellwire.exporter.recipe.recipe_file import read_recipe
from cellwire.model_file.vocabulary import Unknown

FRENCH = "Le café était fermé, l'été dernier à Besançon. Où êtes-vous allé ? Ça ira. " * 5
POLISH = "Zażółć gęślą jaźń, czyli żółte źdźbło trawy w łące. " * 5
RUSSIAN = "Все счастливые семьи похожи друг на друга. " * 5  # noqa: RUF001  # Russian
GREEK = "Η ζωή είναι ωραία και η θάλασσα μπλε. " * 5  # noqa: RUF001  # Greek
SIMPLIFIED = "醉里挑灯看剑，梦回吹角连营。八百里分麾下炙，五十弦翻塞外声。" * 5  # noqa: RUF001  # its own comma
TRADITIONAL = "東風夜放花千樹，更吹落星如雨。寶馬雕車香滿路。" * 5  # noqa: RUF001  # likewise
JAPANESE = "吾輩は猫である。名前はまだ無い。どこで生れたかとんと見当がつかぬ。" * 5
KOREAN = "나는 고양이다. 이름은 아직 없다. 어디서 태어났는지 모른다. " * 5


def read_text(corpus: Corpus, data: Data | None = None) -> str:
    dataset = Dataset.of(corpus, data or Data(validation_fraction=0.25))
    tokens = [*dataset.train, *dataset.validation]  # type: ignore[misc]  # a text has no examples
    return decode(dataset.vocabulary, tokens)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_unicode_is_read_with_and_without_a_byte_order_mark(encoding: str) -> None:
    assert read_text(corpus_of(FRENCH.encode(encoding))) == FRENCH


@pytest.mark.parametrize("mark_and_codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
def test_every_byte_order_is_read_by_its_mark(mark_and_codec: str) -> None:
    raw = ("\ufeff" + FRENCH).encode(mark_and_codec)
    assert read_text(corpus_of(raw)) == FRENCH


def test_another_encoding_than_utf_8_is_shown() -> None:
    dataset = Dataset.of(corpus_of(FRENCH.encode("utf-16")), Data())
    assert "text.txt is read as utf-16." in dataset.notes
    assert Dataset.of(corpus_of(FRENCH), Data()).notes == ()


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (FRENCH, "cp1252"),
        (POLISH, "cp1250"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "koi8-r"),
        (GREEK, "cp1253"),
        (SIMPLIFIED, "gb18030"),
        (TRADITIONAL, "big5"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (KOREAN, "euc_kr"),
        (FRENCH, "utf-16-le"),
        (FRENCH, "utf-16-be"),
    ],
)
def test_another_encoding_is_guessed_and_the_advice_works(
    tmp_path: Path, text: str, encoding: str
) -> None:
    path = tmp_path / "my text.txt"
    path.write_bytes(text.encode(encoding))
    with pytest.raises(CorpusError) as error:
        read_text(Corpus.read(path))
    message = str(error.value)
    assert f"it seems to be {encoding}" in message
    setting = re.search(r"--set (data\.encoding=\S+),", message)
    assert setting
    data = read_recipe(None, [setting[1], "data.validation_fraction=0.25"]).data
    assert read_text(Corpus.read(path), data) == text
    if shutil.which("iconv"):
        command = message.partition("convert it with: ")[2]
        subprocess.run(command, shell=True, check=True)  # noqa: S602  # as a user pastes it
        assert read_text(Corpus.read(tmp_path / "my text.utf8.txt")) == text


def test_bytes_that_no_code_page_has_are_still_latin_1() -> None:
    with pytest.raises(CorpusError, match="it seems to be latin-1"):
        read_text(corpus_of(FRENCH.encode("cp1252") + b"\x81\x8d\x90"))


def test_a_wrong_setting_of_the_encoding_is_refused_with_a_guess() -> None:
    with pytest.raises(CorpusError, match=r"not UTF-8 .*it seems to be cp1252"):
        read_text(corpus_of(FRENCH.encode("cp1252") + b"!"), Data(encoding="UTF-8"))
    with pytest.raises(CorpusError, match=r"not cp1252 .*it seems to be latin-1"):
        read_text(corpus_of(FRENCH.encode("cp1252") + b"\x81"), Data(encoding="cp1252"))
    with pytest.raises(CorpusError, match=r"not UTF-16 .*the file is broken there"):
        read_text(corpus_of(FRENCH.encode("utf-16") + b"\x81"))


@pytest.mark.parametrize("name", ["rot13", "no-such", "hex", "x\\u0000", "é"])
def test_an_encoding_that_is_none_is_refused(name: str) -> None:
    with pytest.raises(RecipeError, match=r"data: encoding is .*which is none; for example"):
        read_recipe(None, [f'data.encoding="{name}"'])


def test_the_offset_of_a_broken_byte_is_right_in_any_block() -> None:
    raw = "é".encode() * 300_000 + b"\xff" + b"tail"
    with pytest.raises(CorpusError, match=r"byte 600,000 is 0xff"):
        read_text(corpus_of(raw))
    with pytest.raises(CorpusError, match=r"byte 3 is 0xc3"):
        read_text(corpus_of(b"caf\xc3"))


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"PK\x03\x04" + bytes(range(256)), "a ZIP file, such as a workbook"),
        (b"\x1f\x8b" + bytes(range(256)), "compressed by gzip"),
        (b"%PDF-1.7\n" + bytes(range(256)), "a PDF"),
        (b"\x7fELF" + bytes(range(256)) * 2, "binary"),
    ],
)
def test_what_is_no_text_is_named(raw: bytes, words: str) -> None:
    with pytest.raises(CorpusError, match=words):
        read_text(corpus_of(raw))


def test_zero_bytes_are_symbols_and_shown() -> None:
    corpus = corpus_of("ab\0cd" * 20)
    assert read_text(corpus) == "ab\0cd" * 20
    assert any("20 zero bytes" in note for note in Dataset.of(corpus, Data()).notes)


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"\xef\xbb\xbf", "it is empty"),
        (b"\xff\xfe", "it is empty"),
        (b"aaaa", "only 'a' in it"),
        (b"\r\n\r\n", r"only '\\n' in it"),
    ],
)
def test_a_text_without_two_symbols_is_refused(raw: bytes, words: str) -> None:
    with pytest.raises(CorpusError, match=words):
        read_text(corpus_of(raw))


DATA = st.builds(
    Data,
    symbols=st.sampled_from(["characters", "words", "bytes"]),
    html=st.booleans(),
    newlines=st.sampled_from(["kept", "spaces"]),
    unicode_form=st.sampled_from(["", "NFC", "NFD", "NFKC", "NFKD"]),
    lower_case=st.booleans(),
    validation_fraction=st.just(0.25),
)
PIECES = st.sampled_from(
    [
        *(
            "a",
            "bc",
            " ",
            "  ",
            "\n",
            "\r\n",
            "\r",
            "\t",
            "é",
            "e",
            "\u0301",
            "Σ",
            "ΟΔΥΣ",
            "İ",
            "&amp;",
        ),
        *(
            "&am",
            "p;",
            "<br />",
            "<b",
            "r>",
            "\ufeff",
            "世界",
            "ไทย",
            "👨‍👩‍👧",
            "🇩",
            "🇪",
            ",",
            "'",
            ".",
            "x" * 40,
            "<unk>",
        ),
    ]
)


@settings(deadline=None)
@given(
    st.lists(PIECES, min_size=1, max_size=30),
    DATA,
    st.integers(1, 50),
    st.sampled_from(["", "\ufeff"]),
)
def test_what_training_read_serving_reads_given_the_same_bytes(
    pieces: list[str], data: Data, block_bytes: int, mark: str
) -> None:
    raw = (mark + "".join(pieces) * 3).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("cellwire.exporter.data.encoding.BLOCK_BYTES", block_bytes)
        try:
            dataset = Dataset.of(corpus_of(raw), data)
        except CorpusError:
            return  # of one symbol, or without a word that comes twice
    served = dataset.vocabulary.encode(raw.decode(), Unknown.REPLACE)
    assert [*dataset.train, *dataset.validation] == served.tolist()  # type: ignore[misc]


def test_nfc_that_would_change_the_text_is_a_warning() -> None:
    mixed = corpus_of("déjà vu de\u0301ja\u0300 " * 20)
    (note,) = Dataset.of(mixed, Data()).notes
    assert "Warning: the text holds 'é' as U+0065 U+0301" in note
    assert "--set data.unicode_form=NFC" in note
    assert Dataset.of(mixed, Data(unicode_form="NFC")).notes == ()
    assert len(Dataset.of(mixed, Data(unicode_form="NFC")).vocabulary) == 7


def test_the_share_of_unknown_words_is_shown_with_advice() -> None:
    usual = " the cat and the dog and the cow sat on the mat; " * 40
    share, *advice = Dataset.of(corpus_of(usual), Data(symbols="words")).notes
    assert re.match(r"\d+ words are known; unknown are 0\.0% .* 0\.0% of those held out", share)
    assert not advice
    names = " ".join(f"name{number}" for number in range(200))
    share, advice_line = Dataset.of(corpus_of(usual + names), Data(symbols="words")).notes
    assert "100.0% of those held out" in share
    assert "data.vocabulary" in advice_line


def test_words_are_those_of_the_training_part_that_come_twice() -> None:
    text = "one two one two three " * 3 + "once " + "late late late late"
    dataset = Dataset.of(corpus_of(text), Data(symbols="words", validation_fraction=0.2))
    assert dataset.vocabulary.facts.symbols == ("<unk>", " two", " one", " three")
    assert "<unk>" in read_text(corpus_of(text), Data(symbols="words", validation_fraction=0.2))


def test_words_of_which_none_comes_twice_are_refused() -> None:
    with pytest.raises(CorpusError, match=r"no word comes twice.*data\.symbols=characters"):
        read_text(corpus_of("each word once only here"), Data(symbols="words"))


@pytest.mark.slow
@pytest.mark.parametrize("symbols", ["characters", "words", "bytes"])
def test_a_large_text_needs_a_small_multiple_of_its_size(
    symbols: Literal["characters", "words", "bytes"],
) -> None:
    words = ["the", "and", "house", "Zürich", "naïve", "mat,", "cow.\n", *map(str, range(2_000))]
    corpus = corpus_of(" ".join(words) * 400 if symbols != "words" else " ".join(words) * 80)
    tracemalloc.start()
    try:
        dataset = Dataset.of(corpus, Data(symbols=symbols))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert dataset.train_tokens
    fixed = 12_000_000  # of one block, and of tables
    assert peak < 2 * len(corpus.raw) + fixed
