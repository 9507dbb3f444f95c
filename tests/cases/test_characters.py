"""K: what a user sees as one character, and what a terminal does with the others."""

from __future__ import annotations

import asyncio
import io
import unicodedata
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.cases.command_line import run
from tests.client.fake.daemon import FakeDaemon

from cellwire.client.commands import prompt
from cellwire.client.commands.outcome import Misused
from cellwire.client.commands.output import harmless, on_one_line

FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"
FLAG = "\U0001f1e9\U0001f1ea"
HEART = "\u2764\ufe0f"
ACCENTED = "e\u0301"
EVIL = "\x1b]0;title\x07\x1b[2J\r\x9b31m\u202eabc\u2066"

TEXTS = st.text(st.one_of(st.characters(), st.sampled_from(EVIL + FAMILY + FLAG + "\\\n\t")))


@pytest.fixture
async def fake() -> AsyncIterator[FakeDaemon]:
    fake = FakeDaemon()
    await fake.start()
    yield fake
    await fake.stop()


# What a terminal is shown.


@given(text=TEXTS)
def test_nothing_that_is_shown_on_a_terminal_can_change_it(text: str) -> None:
    shown = harmless(text)
    assert all(c in "\n\t" or unicodedata.category(c) != "Cc" for c in shown)
    assert not any(unicodedata.bidirectional(c) in {"RLO", "LRO", "RLE", "RLI"} for c in shown)


@given(text=TEXTS, data=st.data())
def test_how_a_text_arrives_makes_no_difference_to_what_is_shown(
    text: str, data: st.DataObject
) -> None:
    cut = data.draw(st.integers(0, len(text)))
    assert harmless(text[:cut]) + harmless(text[cut:]) == harmless(text)


@pytest.mark.parametrize("seen", [FAMILY, FLAG, HEART, ACCENTED, "한", "ถ้ำ", "שלום"])
def test_what_is_seen_as_one_character_is_shown_as_it_is(seen: str) -> None:
    assert harmless(seen) == seen
    assert on_one_line(seen) == seen


@given(text=st.text())
def test_what_is_shown_on_one_line_can_be_given_back(text: str) -> None:
    line = on_one_line(text)
    assert len(line.splitlines()) <= 1
    assert prompt.unescaped(line) == text


async def test_control_characters_are_harmless_on_a_terminal_and_raw_in_a_pipe(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tests.cases.command_line import Terminal

    from cellwire.client.commands.output import show

    for kind, expected in ((Terminal, harmless(EVIL)), (io.TextIOWrapper, EVIL)):
        out = kind(io.BytesIO(), encoding="utf-8", newline="")
        monkeypatch.setattr("sys.stdout", out)
        show(EVIL)
        buffer = out.buffer
        assert isinstance(buffer, io.BytesIO)
        assert buffer.getvalue().decode() == expected


async def test_a_message_of_a_daemon_cannot_change_the_terminal(fake: FakeDaemon) -> None:
    ran = await asyncio.to_thread(run, ["generate", "--prompt", EVIL, "--target", fake.target])
    assert ran.is_one_line
    assert harmless(ran.err) == ran.err


# Escapes.


@pytest.mark.parametrize(
    ("text", "read"),
    [
        (r"a\n", "a\n"),
        (r"\t\r\0\\\"\'", "\t\r\0\\\"'"),
        (r"caf\xe9", "café"),
        (r"\u0065\u0301", ACCENTED),
        (r"\U0001f1e9", "\U0001f1e9"),
        (r"\\n", "\\n"),
        ("\\x41\\x42", "AB"),
        ("", ""),
    ],
)
def test_escapes_are_those_of_pythons_strings(text: str, read: str) -> None:
    assert prompt.unescaped(text) == read


@pytest.mark.parametrize("text", [r"\q", r"\x4", r"\ud800", r"\U00110000", "\\", "a\\\n"])
def test_what_is_no_escape_is_named_with_those_that_there_are(text: str) -> None:
    with pytest.raises(Misused, match="there is no escape") as refused:
        prompt.unescaped(text)
    assert r"\uHHHH" in str(refused.value)


async def test_an_escape_that_was_not_read_is_hinted_at(fake: FakeDaemon) -> None:
    def generate(*arguments: str) -> str:
        ran = run(["generate", *arguments, "--max-tokens", "2", "--target", fake.target])
        return ran.out + ran.err

    refused = await asyncio.to_thread(generate, "--prompt", r"a\n")
    assert r"'\\' (U+005C)" in refused
    assert r"--escapes reads \n as a line feed" in refused
    assert await asyncio.to_thread(generate, "--prompt", r"\x61", "-e") == "bc"
    assert await asyncio.to_thread(generate, "--prompt", "a", "-e", "--stop", r"\x63") == "b"


# Texts of any length.


@given(text=st.text("ab \n", max_size=80))
def test_a_long_text_goes_in_pieces_that_make_it_up(text: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(prompt, "MAX_PIECE_CHARS", 7)
        pieces = list(prompt.pieces_of(text))
    assert "".join(pieces) == text
    assert all(0 < len(piece) <= 7 for piece in pieces) or text == ""
    for before in pieces[:-1]:
        assert before[-1] in " \n" or not set(before) & set(" \n")


async def test_1_2_million_characters_on_stdin_are_sent_in_pieces(fake: FakeDaemon) -> None:
    text = "abcdefghi " * 120_000
    arguments = ["generate", "--prompt", "-", "--max-tokens", "3", "--target", fake.target]
    ran = await asyncio.to_thread(run, arguments, text.encode())
    assert (ran.status, ran.out, ran.err) == (0, "abc", "")
    sent = [request.append.text for request in fake.requests if request.HasField("append")]
    assert "".join(sent) == text
    assert max(map(len, sent)) <= 1_000_000


async def test_a_symbol_that_is_unknown_late_in_a_long_text_is_placed(fake: FakeDaemon) -> None:
    text = "a" * prompt.MAX_PIECE_CHARS + "aB"
    ran = await asyncio.to_thread(run, ["score", "-", "--target", fake.target], text.encode())
    assert ran.is_one_line
    assert "'B' (U+0042) at offset 1 of the text (after the first 250,000 characters)" in ran.err
