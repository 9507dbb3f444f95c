"""Without a card, `make gpu` fails and other runs skip. Needs no card."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.bench.child import ROOT
from tests.gpu.required_card import REQUIRED, required_card


@pytest.fixture
def no_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.delenv(REQUIRED, raising=False)


@pytest.mark.usefixtures("no_card")
def test_without_a_card_a_test_is_skipped_and_says_how_it_would_not_be() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"no NVIDIA|no GPU|CUDA.*`make gpu`"):
        required_card()


@pytest.mark.usefixtures("no_card")
def test_a_card_that_is_required_is_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(REQUIRED, "1")
    with pytest.raises(pytest.fail.Exception, match=f"{REQUIRED} is set, and there is no card: .+"):
        required_card()


def test_make_gpu_requires_a_card() -> None:
    recipe = (ROOT / "Makefile").read_text().partition("\ngpu:")[2].partition("\n\n")[0]
    assert f"{REQUIRED}=1 $(GPU_BIN)/python -m pytest -m gpu" in recipe


@pytest.mark.slow
@pytest.mark.usefixtures("no_card")
@pytest.mark.parametrize(("required", "status"), [("", 0), ("1", 1)])
def test_the_whole_run_fails_or_skips(required: str, status: int) -> None:
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "pytest",
            "-m",
            "gpu",
            "-q",
            Path(__file__).parent / "test_engine.py",
        ],
        cwd=ROOT,
        env=os.environ | {REQUIRED: required},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == status, done.stdout
    assert "passed" not in done.stdout
    assert ("skipped" in done.stdout) is (not required)
