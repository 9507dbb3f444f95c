"""The losses of a training as curves: on the terminal, and as a PNG."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from cellwire.exporter.runs.files import write_atomically
from cellwire.exporter.runs.progress import Progress

_TERMINAL_ROWS, _TICKS = 16, 5
_MARKERS = {"training": ".", "validation": "*"}
_INCHES, _DOTS_PER_INCH = (8, 4.5), 120

_BOX = "─│┌┐└┘├┤┬┴┼"
_TO_ASCII = {ord(character): "-|"[i] if i <= 1 else "+" for i, character in enumerate(_BOX)}

Curve = tuple[list[int], list[float]]
"""Steps, and the loss in bits at each."""


def loss_curves(checkpoints: Sequence[Progress]) -> dict[str, Curve]:
    """Return the curve of training and, if something is held out, that of validation."""
    points = {
        "training": [(p.step, p.train.bits) for p in checkpoints],
        "validation": [(p.step, p.validation.bits) for p in checkpoints if p.validation],
    }
    return {
        name: ([step for step, _ in curve], [bits for _, bits in curve])
        for name, curve in points.items()
        if curve
    }


def draw_as_text(
    checkpoints: Sequence[Progress], unit: str, columns: int, *, ascii_only: bool = False
) -> str:
    """Return the curves as lines of text, without colours."""
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.theme("clear")
    figure.plot_size(columns, _TERMINAL_ROWS)
    curves = loss_curves(checkpoints)
    for name, (steps, bits) in curves.items():
        figure.draw(figure.signal(steps, bits, marker=_MARKERS[name]).lines())
    figure.title(f"bits per {unit}: " + ", ".join(f"{_MARKERS[name]} {name}" for name in curves))
    ticks = sorted({checkpoints[len(checkpoints) * i // _TICKS].step for i in range(_TICKS)})
    figure.ruler(axis=0).ticks(ticks, [f"{step:,}" for step in ticks])
    text: str = plotext.uncolorize(figure.build())
    return text.translate(_TO_ASCII) if ascii_only else text


def write_png(checkpoints: Sequence[Progress], unit: str, path: Path) -> None:
    """Write the curves as a PNG; FileError if the file cannot be written."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots()
    for name, (steps, bits) in loss_curves(checkpoints).items():
        axes.plot(steps, bits, label=name, marker="." if len(steps) == 1 else "")
    axes.set(xlabel="step", ylabel=f"bits per {unit}")
    axes.legend()
    axes.grid(alpha=0.3)
    png = BytesIO()
    figure.savefig(png, format="png", dpi=_DOTS_PER_INCH)
    write_atomically(path, png.getvalue())
