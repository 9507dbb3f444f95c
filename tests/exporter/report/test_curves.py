from __future__ import annotations

from pathlib import Path

import pytest

from cellwire.exporter.errors import FileError
from cellwire.exporter.report.curves import draw_as_text, loss_curves, write_png
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.runs.progress import Progress


def checkpoint(step: int, train: float, validation: float | None) -> Progress:
    measure = None if validation is None else Measure(validation)
    return Progress(step, 100, Measure(train), measure, None, 1.0)


SHORT = [checkpoint(10, 3.0, 3.2)]
LONG = [checkpoint(10 * i, 4 / i, 1 + 4 / i) for i in range(1, 30)]
ALONE = [checkpoint(10 * i, 4 / i, None) for i in range(1, 30)]


def test_curves_are_the_losses_in_bits() -> None:
    curves = loss_curves(LONG[:2])
    steps, bits = curves["training"]
    assert steps == curves["validation"][0] == [10, 20]
    assert bits == pytest.approx([4 / 0.693147, 2 / 0.693147])
    assert loss_curves(ALONE).keys() == {"training"}


@pytest.mark.parametrize("checkpoints", [SHORT, LONG, ALONE])
def test_the_terminal_gets_text_without_escapes(checkpoints: list[Progress]) -> None:
    text = draw_as_text(checkpoints, "character", 80)
    assert "bits per character: . training" in text
    assert "\x1b" not in text
    assert max(map(len, text.splitlines())) <= 80


@pytest.mark.parametrize("checkpoints", [SHORT, LONG, ALONE])
def test_the_curves_are_written_as_a_png(checkpoints: list[Progress], tmp_path: Path) -> None:
    write_png(checkpoints, "character", tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")
    with pytest.raises(FileError):
        write_png(checkpoints, "character", tmp_path / "none" / "curves.png")
