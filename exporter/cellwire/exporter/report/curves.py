"""The losses of a training as curves: on the terminal, and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

from cellwire.exporter.runs.files import write_whole
from cellwire.exporter.runs.progress import Progress

_TERMINAL_ROWS, _TICKS = 16, 5
_MARKERS = {"training": ".", "validation": "*"}
_INCHES = (8, 4.5)

Curve = tuple[list[int], list[float]]  # steps, and the loss in bits at each


def curves_of(checkpoints: Sequence[Progress]) -> dict[str, Curve]:
    """Return the curves of training and, if something is held out, of validation."""
    curves = {
        "training": [(p.step, p.train.bits) for p in checkpoints],
        "validation": [(p.step, p.validation.bits) for p in checkpoints if p.validation],
    }
    return {
        name: ([step for step, _ in points], [bits for _, bits in points])
        for name, points in curves.items()
        if points
    }


def drawn_as_text(checkpoints: Sequence[Progress], unit: str, columns: int) -> str:
    """Return the curves as lines of text, without colours."""
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.theme("clear")
    figure.plot_size(columns, _TERMINAL_ROWS)
    curves = curves_of(checkpoints)
    for name, (steps, bits) in curves.items():
        figure.draw(figure.signal(steps, bits, marker=_MARKERS[name]).lines())
    figure.title(f"bits per {unit}: " + ", ".join(f"{_MARKERS[name]} {name}" for name in curves))
    ticks = sorted({checkpoints[len(checkpoints) * i // _TICKS].step for i in range(_TICKS)})
    figure.ruler(axis=0).ticks(ticks, [f"{step:,}" for step in ticks])
    text: str = plotext.uncolorize(figure.build())
    return text


def write_png(checkpoints: Sequence[Progress], unit: str, path: Path) -> None:
    """Write the curves as a PNG; FileError if that cannot be done."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=_INCHES, layout="constrained")
    axes = figure.subplots()
    for name, (steps, bits) in curves_of(checkpoints).items():
        axes.plot(steps, bits, label=name, marker="." if len(steps) == 1 else "")
    axes.set(xlabel="step", ylabel=f"bits per {unit}")
    axes.legend()
    axes.grid(alpha=0.3)
    picture = BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    write_whole(path, picture.getvalue())
