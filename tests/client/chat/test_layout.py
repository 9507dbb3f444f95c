"""Word wrap in columns of a terminal, and the cursor in it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.fake.models import ALPHABET

from cellwire.client.commands.chat.graphemes import graphemes
from cellwire.client.commands.chat.known import Known
from cellwire.client.commands.chat.layout import Layout, Look, Writing, lay_out
from cellwire.client.wire.answers import model_of

KNOWN = Known(model_of(ALPHABET))


def laid(text: str, columns: int, *, cursor: int | None = None, suggestion: str = "") -> Layout:
    at = len(text) if cursor is None else cursor
    return lay_out(Writing(text, at, suggestion), KNOWN, columns, 10)


def rows(layout: Layout) -> list[str]:
    return ["".join(cell.sign for cell in row.cells).rstrip() for row in layout.rows]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("one two three four", ["one two", "three four"]),
        ("one two threefourfive", ["one two", "threefourf", "ive"]),
        ("one\ntwo\n", ["one", "two", ""]),
        ("\n\n", ["", "", ""]),
        ("one-two-three", ["one-two-", "three"]),
        ("東風夜放花千樹", ["東風夜放花", "千樹"]),
        ("e\u0301" * 11, ["e\u0301" * 10, "e\u0301"]),
        ("👨‍👩‍👧" * 6, ["👨‍👩‍👧" * 5, "👨‍👩‍👧"]),
        ("a\x1b[31mb", ["a␛[31mb"]),
        ("ab\tc", ["ab    c"]),
        ("0123456789   x", ["0123456789", "x"]),
        ("", [""]),
    ],
)
def test_rows_break_where_people_break_them(text: str, expected: list[str]) -> None:
    assert rows(laid(text, 10)) == expected


def test_the_cursor_is_where_the_text_goes_on() -> None:
    layout = laid("one two three", 10)
    assert (layout.cursor_row, layout.cursor_column) == (1, 5)
    layout = laid("one two three", 10, cursor=8)
    assert (layout.cursor_row, layout.cursor_column) == (1, 0)
    layout = laid("世界", 10, cursor=1)
    assert layout.cursor_column == 2


def test_a_suggestion_is_wrapped_with_the_text_and_is_none_of_its_places() -> None:
    layout = laid("one two x", 10, cursor=7, suggestion=" three\n")
    assert rows(layout) == ["one two", "three↵ x"]
    looks = [cell.look for row in layout.rows for cell in row.cells]
    assert looks.count(Look.SUGGESTED) == 7
    assert layout.place_at(1, 2) == 7
    assert layout.place_at(1, 7) == 8
    assert layout.place_at(1, 99) == 9
    assert layout.place_at(0, 1) == 1
    assert layout.place_at(-1, 0) == 0


def test_looks() -> None:
    layout = lay_out(Writing("aÄ\x1bb", 4, "", [0, 0, 0, 4]), KNOWN, 20, 5)
    assert [cell.look for cell in layout.rows[0].cells] == [
        Look.LEVEL_0,
        Look.UNKNOWN,
        Look.UNKNOWN,
        Look.LEVEL_4,
        Look.PLAIN,
    ]
    open_model = Known(model_of(ALPHABET))
    open_model.__dict__["_symbols"] = frozenset()
    layout = lay_out(Writing("Ä\x1b", 0), open_model, 20, 5)
    assert [cell.look for cell in layout.rows[0].cells][:2] == [Look.PLAIN, Look.SIGN]


def test_the_rows_that_are_shown_have_the_cursor() -> None:
    text = "\n".join("abcdefghij"[number % 10] for number in range(300))
    for cursor in range(0, len(text) + 1, 7):
        layout = laid(text, 10, cursor=cursor)
        first, after = layout.shown_rows(10)
        assert first <= layout.cursor_row < after <= first + 10
        place = layout.rows[layout.cursor_row].cells[layout.cursor_cell].place
        assert place == cursor
    first, after = laid(text, 10).shown_rows(10)
    assert after - first == 10


def test_a_long_text_costs_no_more_than_a_screen() -> None:
    layout = laid("word " * 100_000, 10)
    assert sum(len(row.cells) for row in layout.rows) <= 400
    layout = laid("e\u0301" * 100_000, 10)
    assert sum(len(row.cells) for row in layout.rows) <= 400


@given(
    st.text(st.sampled_from("ab -\n\u0301\u200d👩🇩世\x1b\t"), max_size=80),
    st.integers(5, 30),
    st.data(),
)
def test_every_character_is_in_one_row_and_rows_fit(
    text: str, columns: int, data: st.DataObject
) -> None:
    places = [0]
    for one in graphemes(text):
        places.append(places[-1] + len(one))
    cursor = data.draw(st.sampled_from(places))
    layout = lay_out(Writing(text, cursor), KNOWN, columns, 50)
    cells = [cell for row in layout.rows for cell in row.cells]
    # The text before the cursor and the text after it are separate texts to the model, too.
    assert [cell.place for cell in cells] == places
    for row in layout.rows:
        seen = "".join(cell.sign for cell in row.cells).rstrip()
        spaces = [cell for cell in row.cells if cell.is_space]
        width = sum(cell.width for cell in row.cells if cell not in spaces)
        assert width <= columns, seen
        assert all(not cell.is_line_feed for cell in row.cells[:-1])
    assert layout.rows[layout.cursor_row].cells[layout.cursor_cell].place == cursor
