"""Kind L: labelled files as spreadsheets, programs and people write them."""

from __future__ import annotations

import csv
import importlib.util
import io
import re

import pytest

if importlib.util.find_spec("torch") is None:
    pytest.skip("training needs the train extra", allow_module_level=True)

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.exporter.texts import corpus_of, table, vocabulary

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.labelled import LabelledSplit
from cellwire.exporter.data.labelled_rows import LabelledRows, LabelledText
from cellwire.exporter.errors import CorpusError, RecipeError
from cellwire.exporter.recipe.data import Data
from cellwire.exporter.recipe.recipe_file import read_recipe

LABELLED = Data(kind="labelled", validation_fraction=0.2)
REVIEWS = [
    LabelledText(f"review {i} is {'good' if i % 2 else 'bad'}", ["neg", "pos"][i % 2])
    for i in range(60)
]


def read(corpus: Corpus, *options: str) -> LabelledRows:
    data = read_recipe(None, ["data.kind=labelled", *options]).data
    return LabelledRows.read(corpus, data, vocabulary("ab", data).clean)


def texts(corpus: Corpus, *options: str) -> list[LabelledText]:
    return read(corpus, *options).rows


def refusal(corpus: Corpus, *options: str) -> str:
    with pytest.raises(CorpusError) as error:
        read(corpus, *options)
    return str(error.value)


def written(form: str, head: str = "text,label", encoding: str = "utf-8") -> Corpus:
    lines = [head] if head else []
    lines += [form.format(t=row.text, l=row.label) for row in REVIEWS]
    return corpus_of(("\n".join(lines) + "\n").encode(encoding), "reviews.csv")


@pytest.mark.parametrize(
    ("head", "form"),
    [
        ("text,label", '"{t}",{l}'),
        ("review,sentiment", '"{t}",{l}'),
        ("Text,Label", '"{t}",{l}'),
        ("TEXT;LABEL", "{t};{l}"),
        ("label,text", "{l},{t}"),
        ("text\tlabel", "{t}\t{l}"),
        ("text|label", "{t}|{l}"),
        ("sentence;mood", "{t};{l}"),
        ("text, label", '"{t}", "{l}"'),
        ("Review Text,Star Rating,label", '"{t}",5,{l}'),
        ("id,review_text,label", '7,"{t}",{l}'),
        ('"text","label"', '"{t}","{l}"'),
        ("sep=;\ntext;label", "{t};{l}"),
        ("text,label,,", "{t},{l},,"),
        ("", '{l},"{t}"'),
        ("", "{t}\t{l}"),
        ("v1,v2,,,", '{l},"{t}",,,'),
    ],
)
def test_any_delimiter_and_the_usual_names_are_found(head: str, form: str) -> None:
    assert texts(written(form, head)) == REVIEWS
    assert texts(written(form + "\r", head)) == REVIEWS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_encodings_of_spreadsheets_are_read(encoding: str) -> None:
    assert texts(written("{t}\t{l}", "text\tlabel", encoding)) == REVIEWS


def test_the_encoding_of_a_spreadsheet_of_old_is_named() -> None:
    corpus = corpus_of("text;label\nça était bien;pos\npas terrible;neg\n".encode("cp1252"))
    assert "data.encoding=cp1252" in refusal(corpus)
    assert texts(corpus, "data.encoding=cp1252")[0] == LabelledText("ça était bien", "pos")


@pytest.mark.parametrize(
    ("form", "said"),
    [
        ('"he said ""hi"" {t}",{l}', 'he said "hi" '),
        ('"he said \\"hi\\" {t}",{l}', 'he said "hi" '),
        ('"a \\\\ and \\"hi\\" C:\\new, {t}",{l}', 'a \\ and "hi" C:\\new, '),
        ('"C:\\new {t}",{l}', "C:\\new "),
        ('5" and {t},{l}', '5" and '),
    ],
)
def test_quotation_marks_are_doubled_or_behind_a_backslash(form: str, said: str) -> None:
    assert [row.text for row in texts(written(form))] == [said + row.text for row in REVIEWS]


def test_quotation_marks_between_tabs_may_be_plain_characters() -> None:
    rows = ['"Good" film\tpos', '"never closed\tneg', "bad\tneg", 'never opened" here\tpos']
    found = texts(table(rows, "text\tlabel"))
    assert [f"{row.text}\t{row.label}" for row in found] == rows


def test_a_text_may_be_of_any_length() -> None:
    long = "a long text of words " * 7_000
    found = texts(table([f"{long},a", "short,b"]))
    assert found[0].text == long


cell = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=9)


@settings(deadline=None)
@given(
    st.lists(st.tuples(cell, st.sampled_from(["pos", "neg"])), min_size=1, max_size=20),
    st.sampled_from(",;\t|"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_csv_writes_is_read(rows: list[tuple[str, str]], delimiter: str, end: str) -> None:
    # With line feeds only, csv does not quote a carriage return, which it then reads as a line end.
    quoting = csv.QUOTE_ALL if end == "\n" else csv.QUOTE_MINIMAL
    file = io.StringIO(newline="")
    csv.writer(file, delimiter=delimiter, lineterminator=end, quoting=quoting).writerows(  # type: ignore[arg-type]
        [("text", "label"), *rows]
    )
    data = Data(kind="labelled", html=False, delimiter=delimiter)
    found = LabelledRows.read(corpus_of(file.getvalue()), data, lambda text: text).rows
    first: dict[str, str] = {}
    for text, label in rows:
        if text.strip():
            first.setdefault(text.lstrip(" "), label)
    assert {row.text.lstrip(" "): row.label for row in found} == first


def test_columns_are_chosen_by_name_or_number() -> None:
    corpus = table(["1,good film,x,pos", "2,bad film,y,neg"] * 3, "id,title,text,verdict")
    assert texts(corpus, "data.text_column=title", "data.label_column=verdict") == [
        LabelledText("good film", "pos"),
        LabelledText("bad film", "neg"),
    ]
    assert texts(corpus, "data.text_column=2", "data.label_column=4")[0].label == "pos"
    bare = table(["1,good film,x,pos", "2,bad film,y,neg"] * 3, "")
    assert len(texts(bare, "data.text_column=2", "data.label_column=4")) == 2


def test_a_head_may_be_said_or_denied() -> None:
    corpus = table(["good,pos", "bad,neg", "fine,pos"], "comment,odd")
    assert len(texts(corpus)) == 3
    assert len(texts(corpus, "data.head=false", "data.text_column=1")) == 4
    spam = table(["ham,see you", "spam,win now", "ham,bye", "spam,free"], "spam,call now")
    assert len(texts(spam)) == 5
    assert len(texts(spam, "data.head=true")) == 4


def test_a_delimiter_may_be_said() -> None:
    corpus = table(["a|b;pos;1|1", "b|c;neg;2|2"], "text;label;z|z")
    assert [row.label for row in texts(corpus)] == ["pos", "neg"]
    for name in ("semicolon", ";", '";"'):
        assert [row.label for row in texts(corpus, f"data.delimiter={name}")] == ["pos", "neg"]
    assert texts(table(["a\tpos"], "text\tlabel"), r"data.delimiter=\t")[0].label == "pos"
    with pytest.raises(RecipeError, match="must be one character, or one of comma"):
        read_recipe(None, ["data.delimiter=xy"])


@pytest.mark.parametrize(
    ("head", "rows", "words"),
    [
        ("a,b,c", ["1,2,3"], "no column for text and label; the first row is 'a', 'b', 'c'"),
        ("text,b,c", ["1,2,3"], "no column for label; the first row is 'text', 'b', 'c'"),
        ("only one column", ["good"], "no column for text and label"),
    ],
)
def test_the_columns_that_there_are_are_named(head: str, rows: list[str], words: str) -> None:
    message = refusal(table(rows, head))
    assert words in message
    assert "--set data.text_column=" in message


def test_a_column_that_is_not_there_is_named_with_those_that_are() -> None:
    corpus = table(["x,y,z"], "text,label,c")
    message = refusal(corpus, "data.text_column=body")
    assert "no column for text ('body'); its columns are 'text', 'label', 'c'" in message
    assert "no column for label (9)" in refusal(corpus, "data.label_column=9")
    assert "is both text and label" in refusal(corpus, "data.label_column=text")


def test_an_empty_table_is_refused() -> None:
    assert "no row" in refusal(corpus_of("\n\n\n"))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (["good,pos", '"two\nlines",neg', "bad"], "line 5: 1 columns, and the first row has 2"),
        (["good,pos", "so, and so,neg"], "line 3: 3 columns, and the first row has 2"),
        (["good,pos", '"never closed,neg', "bad,neg"], "line 3: a quotation mark is opened here"),
        (['"a\nb",pos', '"good" film,neg'], "line 4: a quotation mark ends the cell before"),
    ],
)
def test_the_line_at_fault_is_where_its_row_begins(rows: list[str], words: str) -> None:
    assert words in refusal(table(rows))


def test_what_is_left_out_is_counted_with_its_first_line() -> None:
    rows = ["good,pos", "bad,neg", "none,", "odd,nan", "even,N/A", '"a\nb",', "good,pos"]
    rows += ["bad,pos", ",pos", '"  ",neg', "<br />,neg", "g&#111;od,pos", "", ",", "third,pos"]
    found = read(table(rows))
    first = "the first label of a text counts"
    assert [row.text for row in found.rows] == ["good", "bad", "third"]
    assert found.notes == (
        "Texts of each label: pos (2), neg (1).",
        "Left out: 2 rows without a label (first in line 4).",
        "Left out: 1 row with the label 'nan', which stands for none (first in line 5).",
        "Left out: 1 row with the label 'N/A', which stands for none (first in line 6).",
        "Left out: 2 rows repeated (first in line 9).",
        f"Left out: 1 row repeated with another label; {first} (first in line 10).",
        "Left out: 3 rows without a text (first in line 11).",
    )


def test_labels_that_stand_for_none_may_be_said() -> None:
    corpus = table(["good,na", "bad,none", "odd,nb", "even,na"])
    assert [row.label for row in texts(corpus)] == ["none", "nb"]
    kept = texts(corpus, "data.missing_labels=[]")
    assert [row.label for row in kept] == ["na", "none", "nb", "na"]
    assert len(texts(corpus, 'data.missing_labels=["NONE"]')) == 3


def test_the_columns_and_the_delimiter_taken_are_shown() -> None:
    notes = read(written("{t};{l}", "review;sentiment")).notes
    assert notes[0] == "The columns are separated by semicolons."
    assert notes[1] == "The text is column 'review', the label column 'sentiment'."
    assert read(written("{l},{t}", "")).notes[0] == (
        "The file has no head: column 2 is read as the text, column 1 as the label."
    )
    assert read(written("{t},{l}")).notes == ("Texts of each label: neg (30), pos (30).",)


def test_a_source_is_chosen_and_the_other_rows_are_counted() -> None:
    corpus = table(["good,pos,imdb", "bad,neg,tomatoes", "fine,pos,imdb"], "text,label,Source")
    found = read(corpus, "data.source=imdb")
    assert [row.text for row in found.rows] == ["good", "fine"]
    assert "Left out: 1 row of another source (first in line 3)." in found.notes
    message = refusal(corpus, "data.source=imbd")
    assert "no text of data.source = 'imbd'; its sources are: 'imdb', 'tomatoes'" in message


def test_a_source_without_its_column_is_refused_and_can_be_unset() -> None:
    corpus = table(["good,pos", "bad,neg"])
    message = refusal(corpus, "data.source=imdb")
    assert "no column 'source', by which data.source = \"imdb\" chooses" in message
    option = re.search(r"--set (data\.source=)$", message)
    assert option
    for unset in (option[1], "data.source=null", "data.source= "):
        assert len(texts(corpus, "data.source=imdb", unset)) == 2


def test_the_only_text_of_a_label_is_trained_on_and_said() -> None:
    for place in range(0, 100, 9):
        rows = [f"text {i} is good,{'b' if i == place else 'a'}" for i in range(100)]
        split = LabelledSplit.of(table(rows), LABELLED)
        assert split.train.labels.tolist().count(1) == 1
        assert len(split.validation) == 20
        assert any(note.startswith("No text is held out of 'b'") for note in split.notes)


def test_both_labels_are_on_both_sides() -> None:
    rows = [f"text {i},{'b' if i % 10 == 0 else 'a'}" for i in range(100)]
    split = LabelledSplit.of(table(rows), LABELLED)
    assert split.validation.labels.tolist().count(1) == 2
    assert split.train.labels.tolist().count(1) == 8
