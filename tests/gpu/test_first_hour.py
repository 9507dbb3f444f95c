"""The first hour runs every step of its page, and writes it into one file. Needs no card."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.bench.child import ROOT
from tests.gpu.first_hour import STEPS, Step, main
from tests.gpu.required_card import REQUIRED


def python(name: str, program: str, *, is_essential: bool = False) -> Step:
    return Step(name, (sys.executable, "-c", program), is_essential)


FAILS = python("fails", "raise SystemExit('no such kernel')")
SAYS = python("says", f"import os; print(os.environ[{REQUIRED!r}] * 7)")
MISSING = Step("missing", ("no-such-program", "--fast"))
NO_CARD = python("card", "raise SystemExit('no card')", is_essential=True)


@pytest.fixture
def out(tmp_path: Path) -> Path:
    return tmp_path / "hour" / "out.txt"


def hour(out: Path, *steps: Step, names: tuple[str, ...] = ()) -> tuple[int, str]:
    status = main(steps, [*names, "--out", str(out)])
    return status, out.read_text()


def test_all_that_the_steps_say_is_in_the_file(out: Path) -> None:
    status, text = hour(out, FAILS, MISSING, SAYS)
    assert status == 1
    assert "no such kernel" in text
    assert "1111111" in text
    summary = text.partition("summary")[2].splitlines()
    outcomes = {line.split()[0]: line for line in summary if line and "=" not in line}
    assert "failed with 1, 0 s" in outcomes["fails"]
    assert "left out: no-such-program is not installed" in outcomes["missing"]
    assert "ok, 0 s" in outcomes["says"]


def test_what_is_left_out_is_no_failure(out: Path) -> None:
    status, _ = hour(out, MISSING, SAYS)
    assert status == 0


def test_without_a_card_nothing_else_is_tried(out: Path) -> None:
    status, text = hour(out, NO_CARD, SAYS)
    assert status == 1
    assert "1111111" not in text


def test_single_steps_can_be_named(out: Path) -> None:
    status, text = hour(out, FAILS, SAYS, names=("says",))
    assert status == 0
    assert "no such kernel" not in text
    with pytest.raises(SystemExit):
        hour(out, FAILS, names=("strange",))


def test_the_page_has_every_step_in_its_order() -> None:
    page = (ROOT / "docs" / "gpu-first-hour.md").read_text()
    headings = [line.partition(". ")[2] for line in page.splitlines() if line.startswith("### ")]
    assert headings == [step.name for step in STEPS]


def test_every_step_that_runs_tests_finds_some() -> None:
    files = [part for step in STEPS for part in step.command if part.startswith("tests/gpu/")]
    tests = sorted(ROOT.glob("tests/gpu/test_*.py"))
    with_card = {f"tests/gpu/{path.name}" for path in tests if needs_card(path)}
    assert with_card == {file for file in files if file.endswith(".py")}


def needs_card(path: Path) -> bool:
    text = path.read_text()
    return "Needs no card" not in text.splitlines()[0]
