"""The table of a trial's result."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.crash.report import MARKS, PAGE, write_report

RESULT = {
    "seed": 3,
    "seconds": 95.2,
    "outages": {"kill": 1_052, "full disk": 1},
    "counts": {
        "sessions": 92,
        "operations": 6_386,
        "characters": 280_393,
        "attaches": 1_094,
        "sent_again": 1_643,
        "lost_sessions": 0,
    },
}


def test_the_table_replaces_what_is_between_the_marks(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    first, last = MARKS
    page.write_text(f"before\n{first}\nold\n{last}\nafter\n")
    write_report(RESULT, page)
    text = page.read_text()
    assert text.startswith(
        f"before\n{first}\n\nSeed 3, 95.2 s on this machine:\n\n| | |\n|---|---|"
    )
    assert "| kills (SIGKILL) | 1,052 |\n| full disks | 1 |\n" in text
    assert text.endswith(f"| **broken promises** | **0** |\n\n{last}\nafter\n")
    write_report(RESULT, page)
    assert page.read_text() == text


def test_two_daemons_have_a_table_of_their_own(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("\n".join(MARKS))
    shared = {"seed": 3, "seconds": 5.0, "outages": {"pause the store": 2}}
    counts = {**RESULT["counts"], "moves": 7}  # type: ignore[dict-item]
    write_report({**RESULT, "shared": {**shared, "counts": counts}}, page)
    one, two = page.read_text().split("Two daemons on one Redis server. Seed 3, 5.0 s")
    assert "moved" not in one
    assert "| sessions moved between daemons that both ran | 7 |" in two
    assert "| pauses of the Redis server | 2 |" in two


def test_a_page_without_marks_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has not both"):
        write_report(RESULT, page)
    assert all(mark in PAGE.read_text() for mark in MARKS)
