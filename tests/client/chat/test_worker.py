"""The session follows the text, whatever is done to it, and the model's text comes in."""

from __future__ import annotations

import asyncio

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.client.chat.desk import GUARD_S, Desk, desk
from tests.client.fake.daemon import FakeDaemon
from tests.client.fake.models import letters
from tests.client.fake.refused import Refused
from tests.client.real.daemon import RealDaemon

from cellwire.client import Completed, ResourceExhausted


async def test_each_key_is_appended_and_completed(fake: FakeDaemon) -> None:
    fake.continuations = ["sh "]
    async with desk(fake.target) as at:
        at.editor.type("a")
        await at.sees("a", "sh ")
        at.editor.type("b")
        assert at.editor.suggestion == ""
        await at.sees("ab", "sh ")
    assert fake.log == ["open", "append", "complete", "append", "complete", "close"]


async def test_a_suggestion_is_accepted_as_it_was_found(fake: FakeDaemon) -> None:
    fake.continuations = ["sh ", "nt "]
    async with desk(fake.target) as at:
        at.editor.type("a")
        await at.sees("a", "sh ")
        at.editor.accept()
        await at.sees("ash ", "sh ")
        at.editor.choose(1)
        assert at.editor.suggestion == "nt "
        at.editor.choose(1)
        at.editor.choose(-1)
        at.editor.accept()
        await at.sees("ash nt ", "sh ")
        # One that is not shown cannot.
        at.editor.type("b")
        at.editor.accept()
        await at.sees("ash nt b", "sh ")
    assert fake.log.count("accept") == 2
    assert fake.sent("accept").index == 1


async def test_a_suggestion_can_be_typed_too(target: str) -> None:
    async with desk(target) as at:
        at.editor.type("a")
        await at.until(lambda: bool(at.editor.suggestion))
        suggestion = at.editor.suggestion
        at.editor.type(suggestion)
        await at.until(lambda: at.read == f"a{suggestion}")


async def test_the_model_continues_the_text_before_the_cursor(target: str) -> None:
    async with desk(target) as at:
        at.editor.type("ax")
        at.editor.move_left()
        await at.until(lambda: at.read == "a")
        at.editor.go_on()
        await at.sees("abcdx")
        assert at.editor.buffer.cursor == 4
        assert at.worker.tokens_per_s > 0


async def test_a_text_is_edited_anywhere(target: str) -> None:
    async with desk(target) as at:
        at.editor.type("one two three")
        at.editor.move_word_left()
        at.editor.erase_word()
        await at.until(lambda: at.read == "one ")
        at.editor.erase_next_character()
        at.editor.move_to(99)
        assert at.editor.buffer.text == "one hree"
        at.editor.erase_character()
        at.editor.move_word_left()
        at.editor.move_word_right()
        at.editor.move_left()
        at.editor.move_right()
        await at.until(lambda: at.read == "one hre")
        at.editor.erase_to_line_start()
        await at.until(lambda: at.read == "")
        for nothing in (
            at.editor.erase_character,
            at.editor.erase_word,
            at.editor.erase_to_line_start,
            at.editor.erase_to_line_end,
            at.editor.erase_next_character,
            at.editor.move_left,
            at.editor.accept,
        ):
            nothing()
        assert at.editor.buffer.text == ""


async def test_lines_are_erased_up_to_their_ends(target: str) -> None:
    async with desk(target, "judge") as at:
        at.editor.type("ab\ncd\nef")
        at.editor.move_to(4)
        at.editor.erase_to_line_end()
        assert at.editor.buffer.text == "ab\nc\nef"
        at.editor.erase_to_line_end()
        assert at.editor.buffer.text == "ab\ncef"
        at.editor.erase_to_line_end()
        at.editor.erase_to_line_start()
        assert at.editor.buffer.text == "ab\n"
        at.editor.erase_to_line_start()
        await at.until(lambda: at.read == "ab")


async def test_undo_and_redo_are_rewinds(fake: FakeDaemon) -> None:
    async with desk(fake.target) as at:
        at.editor.type("a")
        at.editor.go_on()
        await at.sees("abcd")
        at.editor.undo()
        await at.until(lambda: at.read == "a")
        at.editor.redo()
        await at.until(lambda: at.read == "abcd")
        at.editor.undo()
        at.editor.undo()
        await at.until(lambda: at.read == "")
        at.editor.undo()
        assert "nothing to undo" in at.editor.notice
        at.editor.type("x")
        at.editor.redo()
        assert "nothing to do again" in at.editor.notice
        await at.until(lambda: at.read == "x")
    assert fake.log.count("open") == 1
    assert fake.log.count("rewind") >= 2


async def test_typing_is_undone_by_words(target: str) -> None:
    async with desk(target) as at:
        for key in "one two":
            at.editor.type(key)
        at.editor.undo()
        assert at.editor.buffer.text == "one "
        at.editor.undo()
        await at.sees("")


async def test_again_has_another_seed_each_time_and_is_one_step(fake: FakeDaemon) -> None:
    fake.chunk_tokens = 2
    async with desk(fake.target, seed=2**53 - 1) as at:
        at.editor.again()
        assert "has not written" in at.editor.notice
        at.editor.type("a")
        at.editor.go_on()
        await at.sees("abcd")
        assert not fake.sent("generate").sampling.HasField("seed")
        for seed in (0, 1):
            at.editor.again()
            assert at.editor.buffer.text == "a"
            await at.sees("abcd")
            assert fake.sent("generate").sampling.seed == seed
        at.editor.undo()
        await at.sees("abcd")
        for _ in range(2):
            at.editor.undo()
        await at.sees("a")
        at.editor.type("x")
        at.editor.again()
        assert "has not written" in at.editor.notice


async def test_the_temperature_of_the_moment_counts(fake: FakeDaemon) -> None:
    async with desk(fake.target) as at:
        at.editor.warmer(2)
        assert at.editor.temperature == 1
        at.editor.type("a")
        at.editor.go_on()
        await at.sees("abcd")
        assert fake.sent("generate").sampling.temperature == 1
        at.editor.warmer(-99)
        assert at.editor.temperature == 0
        at.editor.warmer(9_999)
        assert at.editor.temperature == 100


@pytest.mark.parametrize("key", ["stop", "type", "erase", "move", "undo"])
async def test_keys_stop_the_model_where_its_text_was_seen(fake: FakeDaemon, key: str) -> None:
    fake.pause_at, fake.chunk_tokens = 2, 2
    async with desk(fake.target, max_tokens=9) as at:
        at.editor.type("a")
        at.editor.go_on()
        await at.until(lambda: at.editor.buffer.text == "abc")
        keys = {
            "stop": at.editor.stop,
            "type": lambda: at.editor.type("x"),
            "erase": at.editor.erase_character,
            "move": at.editor.move_left,
            "undo": at.editor.undo,
        }
        keys[key]()
        assert not at.editor.generating
        before = {"stop": "abc", "type": "abcx", "erase": "ab", "move": "ab", "undo": "a"}[key]
        await at.until(lambda: at.read == before and bool(at.editor.suggestion))
        assert at.editor.buffer.before == before


async def test_stopping_before_it_has_begun_is_stopping(fake: FakeDaemon) -> None:
    async with desk(fake.target) as at:
        at.editor.type("a")
        at.editor.go_on()
        at.editor.go_on()
        at.editor.stop()
        await at.sees("a", letters("a", 32))
    assert "generate" not in fake.log


async def test_what_comes_after_a_stop_is_taken_back(fake: FakeDaemon) -> None:
    fake.chunk_tokens = 1
    async with desk(fake.target, max_tokens=500) as at:
        at.editor.type("a")
        at.editor.go_on()
        await at.until(lambda: len(at.editor.buffer.text) > 3)
        at.editor.stop()
        text = at.editor.buffer.text
        await at.until(lambda: bool(at.editor.suggestion))
        assert at.editor.buffer.text == text == at.read
        (session,) = fake.sessions.values()
        assert session.text.data.decode() == text


async def test_leaving_ends_what_the_model_writes(fake: FakeDaemon) -> None:
    fake.pause_at = 0
    async with desk(fake.target) as at:
        at.editor.type("a")
        at.editor.go_on()
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
    assert fake.log[-1] == "close"


async def test_a_search_holds_nobody_up(fake: FakeDaemon) -> None:
    fake.pause_search_at = 0
    async with desk(fake.target) as at:
        for text in ("a", "ab"):
            at.editor.type(text[-1])
            await at.sees(text)
            await asyncio.wait_for(fake.paused.wait(), GUARD_S)
            fake.paused.clear()
        at.editor.erase_character()
        await at.sees("a")
        await asyncio.wait_for(fake.paused.wait(), GUARD_S)
        fake.go_on.set()
        await at.sees("a", letters("a", 32))


async def test_unknown_characters_stay_in_the_text_and_are_named(target: str) -> None:
    async with desk(target) as at:
        at.editor.type("“ab” — é\t")
        await at.is_told("unknown to the model, which reads past it: “ ” — é U+0009")
        await at.until(lambda: at.read == "“ab” — é\t")
        assert at.worker.link.mirror.offset == len("ab  ")
        at.editor.type("é")
        assert at.editor.notice == ""
        at.editor.type("ABCDEFGHIJ")
        await at.is_told("A B C D E F G H and 2 more")


async def test_a_text_of_unknown_characters_alone_is_no_beginning(target: str) -> None:
    async with desk(target) as at:
        at.editor.type("ÄÖ")
        await at.until(lambda: at.read == "ÄÖ")
        at.editor.go_on()
        await at.is_told("has read nothing yet")
        at.editor.type("a")
        at.editor.go_on()
        await at.sees("ÄÖabcd")


async def test_unknown_words_are_named_when_they_are_whole(target: str) -> None:
    async with desk(target, "words") as at:
        for key in "Äh":
            at.editor.type(key)
            await at.until(lambda: at.read == at.editor.buffer.text)
            assert at.editor.notice == ""
        at.editor.type(" a")
        await at.is_told("reads past it: Äh")
        at.editor.go_on()
        await at.until(lambda: at.editor.buffer.text.endswith("abcd"))


async def test_the_model_can_begin(target: str) -> None:
    async with desk(target) as at:
        at.editor.go_on()
        await at.sees("abcd")  # the alphabet knows no line feed


async def test_a_classifier_shows_its_labels_and_does_not_write(target: str) -> None:
    async with desk(target, "judge") as at:
        at.editor.type("né")
        await at.until(lambda: at.editor.labels_are_current and bool(at.editor.labels))
        assert [(one.label, one.score) for one in at.editor.labels] == [
            ("good", 0.75),
            ("bad", 0.25),
        ]
        assert at.editor.suggestion == ""
        at.editor.go_on()
        await at.is_told("only classifies")
        at.editor.erase_character()
        await at.until(lambda: at.read == "n")
        assert at.worker.link.mirror.offset == 1


async def test_much_text_is_read_in_pieces(fake: FakeDaemon) -> None:
    text = "ab cd " * 10_000
    async with desk(fake.target) as at:
        at.editor.load(text)
        await at.until(lambda: at.read == text)
        at.editor.undo()
        await at.until(lambda: at.read == "")
    assert 20 < fake.log.count("append") < 80


async def test_beyond_the_rewind_window_the_text_is_read_anew(target: str) -> None:
    async with desk(target) as at:
        at.editor.type("ab " * 1_000)
        await at.until(lambda: len(at.read) == 3_000)
        at.editor.move_to(4)
        await at.until(lambda: at.read == "ab a")
        at.editor.move_to(3_000)
        await at.until(lambda: len(at.read) == 3_000)
        assert at.worker.link.mirror.offset == 3_000


async def surprises(at: Desk, text: str) -> list[int]:
    await at.until(lambda: len(at.editor.surprise.levels(text)) == len(text))
    return list(at.editor.surprise.levels(text))


async def test_surprise_of_what_is_typed_and_of_what_is_written(target: str) -> None:
    async with desk(target) as at:
        at.editor.toggle_colours()
        at.editor.type("acd")
        assert await surprises(at, "acd") == [0, 4, 0]
        at.editor.type("Äb")
        assert await surprises(at, "acdÄb") == [0, 4, 0, 0, 4]
        at.editor.go_on()
        await at.sees("acdÄbcde")
        assert await surprises(at, "acdÄbcde") == [0, 4, 0, 0, 4, 0, 0, 0]


@pytest.mark.parametrize("loss", ["stopped", "deleted", "broken"])
async def test_the_text_is_kept_when_the_session_is_lost(fake: FakeDaemon, loss: str) -> None:
    async with desk(fake.target) as at:
        at.editor.type("ab ")
        await at.sees("ab ", letters(" ", 32))
        if loss == "stopped":
            address = fake.target
            await fake.stop()
            at.editor.type("c")
            await at.is_told("I keep trying")
            at.editor.type("d")
            await fake.start(address)
        elif loss == "deleted":
            (session_id,) = fake.sessions
            await at.worker.link.client.delete_session(session_id)
            at.editor.type("cd")
        else:
            fake.refusal = Refused(grpc.StatusCode.INTERNAL, "a fault")
            at.editor.type("c")
            await at.is_told("a new one has your text")
            fake.refusal = None
            at.editor.type("d")
        await at.until(lambda: at.worker.link.is_open and at.read == "ab cd")
        at.editor.go_on()
        await at.sees("ab cdefg")
    assert fake.log.count("open") == 2
    assert [one.open.seed for one in fake.requests if one.HasField("open")][1:] == [42]


async def test_a_loss_while_the_model_writes_keeps_what_was_seen(fake: FakeDaemon) -> None:
    fake.pause_at, fake.chunk_tokens = 2, 2
    async with desk(fake.target, max_tokens=9) as at:
        at.editor.type("a")
        at.editor.go_on()
        await at.until(lambda: at.editor.buffer.text == "abc")
        (session_id,) = fake.sessions
        await at.worker.link.client.delete_session(session_id)
        await at.is_told("a new one has your text")
        assert not at.editor.generating
        await at.until(lambda: at.read == "abc")


async def test_one_can_leave_while_the_daemon_is_lost(fake: FakeDaemon) -> None:
    async with desk(fake.target) as at:
        at.editor.type("a")
        await at.sees("a", letters("a", 32))
        await fake.stop()
        at.editor.type("b")
        await at.is_told("I keep trying")


async def test_what_the_daemon_refuses_is_said_and_can_be_tried_again(fake: FakeDaemon) -> None:
    async with desk(fake.target) as at:
        at.editor.type("a")
        await at.sees("a", letters("a", 32))
        fake.refusal = Refused(grpc.StatusCode.RESOURCE_EXHAUSTED, "no slots")
        at.editor.type("b")
        await at.is_told("no slots")
        assert at.editor.buffer.text == "ab"
        fake.refusal = None
        at.editor.go_on()
        await at.sees("abcde")


async def test_a_search_without_room_is_not_worth_a_word(
    fake: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = asyncio.Event()

    async def refuse(*_: object, **__: object) -> Completed:
        searched.set()
        raise ResourceExhausted("no room")

    async with desk(fake.target) as at:
        monkeypatch.setattr(at.worker.link.session, "complete", refuse)
        at.editor.type("a")
        await asyncio.wait_for(searched.wait(), GUARD_S)
        at.editor.type("b")
        await at.until(lambda: at.read == "ab")
        assert at.editor.notice == at.editor.suggestion == ""


async def test_a_key_that_changes_nothing_searches_nothing(fake: FakeDaemon) -> None:
    async with desk(fake.target) as at:
        at.editor.type("a")
        await at.sees("a", letters("a", 32))
        at.editor.toggle_list()
        at.editor.warmer(1)
        at.editor.type("b")
        await at.sees("ab", letters("b", 32))
    assert fake.log.count("complete") == 2


@given(st.data())
async def test_any_keys_leave_the_session_with_the_text_before_the_cursor(
    real: RealDaemon, data: st.DataObject
) -> None:
    async with desk(real.target, max_tokens=4) as at:
        editor = at.editor
        keys = {
            "type": lambda: editor.type(data.draw(st.sampled_from(["a", " ", "é", "xy z"]))),
            "accept": editor.accept,
            "go_on": editor.go_on,
            "again": editor.again,
            "stop": editor.stop,
            "erase": editor.erase_character,
            "erase_word": editor.erase_word,
            "delete": editor.erase_next_character,
            "left": editor.move_left,
            "word_left": editor.move_word_left,
            "right": editor.move_right,
            "undo": editor.undo,
            "redo": editor.redo,
        }
        for key in data.draw(st.lists(st.sampled_from(sorted(keys)), max_size=12)):
            keys[key]()
            if data.draw(st.booleans()):
                await at.until(lambda: at.read == editor.buffer.before or editor.generating)
        await at.until(lambda: at.read == editor.buffer.before and not editor.generating)
        link = at.worker.link
        known = [one for one in editor.buffer.before if one != "é"]
        assert link.mirror.offset == len(known)
        info = await link.client.get_session(link.session.id)
        assert info.tail == "".join(known)
