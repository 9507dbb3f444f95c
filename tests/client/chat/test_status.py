"""The lines below the text fit any width, and always show the way out."""

from __future__ import annotations

import math

import pytest
from rich.cells import cell_len
from tests.client.chat.desk import desk
from tests.client.fake.daemon import FakeDaemon

from cellwire.client.commands.chat import status
from cellwire.client.values import Completion, LabelScore


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 200])
async def test_the_way_out_is_always_shown(fake: FakeDaemon, columns: int) -> None:
    fake.pause_at = 0
    async with desk(fake.target) as at:
        rows = [status.key_row(at.editor, at.worker, columns)]
        at.editor.type("a")
        await at.until(lambda: bool(at.editor.suggestion))
        rows.append(status.key_row(at.editor, at.worker, columns))
        at.editor.toggle_list()
        rows.append(status.key_row(at.editor, at.worker, columns))
        at.editor.go_on()
        rows.append(status.key_row(at.editor, at.worker, columns))
        rows.append(status.state_row(at.editor, at.worker, columns))
    assert all(cell_len(row) <= columns for row in rows)
    assert all(row.startswith("^C leave") for row in rows[:3])
    assert rows[3].startswith("^C stop")


async def test_the_state_is_in_words_if_there_is_room(target: str) -> None:
    async with desk(target) as at:
        assert status.state_row(at.editor, at.worker, 80) == "alphabet  offset 0  temperature 0.8"
        at.worker.tokens_per_s = 1234.5
        assert (
            status.state_row(at.editor, at.worker, 80)
            == "alphabet  offset 0  1,234 tokens/s  temperature 0.8"
        )
        assert status.state_row(at.editor, at.worker, 40) == "alphabet  @0  1,234/s  T 0.8"
        await at.worker.link.close()
        assert "offset -" in status.state_row(at.editor, at.worker, 80)


async def test_a_classifier_has_other_keys(target: str) -> None:
    async with desk(target, "judge") as at:
        assert "continue" not in status.key_row(at.editor, at.worker, 80)
        assert status.state_row(at.editor, at.worker, 80) == "judge  offset 0"


def test_labels_are_ranked_and_fit() -> None:
    scores = [LabelScore("bad", 0.25), LabelScore("good", 0.75)]
    assert status.label_rows(scores, 40) == ["good  0.7500 ████████", "bad   0.2500 ██"]
    many = [LabelScore(f"label {number}" * 10, -number) for number in range(9)]
    rows = status.label_rows(many, 40)
    assert len(rows) == 3
    assert rows[-1] == "and 7 more"
    assert all(cell_len(row) <= 40 for row in rows)
    assert status.label_rows([], 40) == []


def test_completions_have_probabilities() -> None:
    found = [
        Completion("the ", math.log(0.5), 4, ended=True),
        Completion("\x1b\n", math.log(0.0001), 2, ended=True),
        Completion("世" * 30, math.log(0.08), 2, ended=True),
    ]
    rows = status.completion_rows(found, 30)
    assert rows[0].split() == ["the·", "50.0", "%"]
    assert rows[1].split() == ["␛↵", "<0.1", "%"]
    assert [cell_len(row) for row in rows] == [30] * 3
    assert status.completion_rows([], 30) == []


async def test_a_notice_is_a_few_harmless_rows(target: str) -> None:
    async with desk(target) as at:
        assert status.notice_rows(at.editor, 40) == []
        at.editor.notice = "a\x1b[2J 世界 " + "long " * 50
        rows = status.notice_rows(at.editor, 40)
        assert len(rows) == 3
        assert rows[0].startswith("a␛[2J 世界")
        assert rows[2].endswith(" ...")
        at.editor.notice = "x" * 100
        assert status.notice_rows(at.editor, 40) == ["x" * 40, "x" * 40, "x" * 20]


def test_the_help_fits_forty_columns() -> None:
    assert all(cell_len(line) <= 40 for line in status.HELP.splitlines())
    assert len(status.HELP.splitlines()) <= 21
