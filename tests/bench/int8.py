"""int8: the program around a cell of 8-bit integers, against float32, in bare loops.

The loss in bits per character depends on the weights; `cellwire export --weights int8` reports it.

int8.speed_ratio.<model>.<batch>    int8 / float32, in tokens per second, in runs of the most steps
int8.tokens_per_s.<model>.<batch>   of the cell of integers
int8.size_ratio.<model>             of the files
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.figures import names
from tests.bench.pace import figure, in_turns, ratios
from tests.bench.setting import Setting
from tests.bench.stepping import ProgramLoop

SIZES = ("S", "M", "L")
BATCHES = (1, 4, 16, 64)

FIGURES = (
    *names("int8", ("speed_ratio", "tokens_per_s"), SIZES, BATCHES),
    *names("int8", ("size_ratio",), SIZES),
)


def run(
    setting: Setting, sizes: Sequence[str] = SIZES, batches: Sequence[int] = BATCHES
) -> dict[str, float]:
    """Measure every model at every batch."""
    figures: dict[str, float] = {}
    for size in sizes:
        whole = setting.models.path(size)
        rounded = setting.models.path(size, weights="int8")
        figures[f"int8.size_ratio.{size}"] = rounded.stat().st_size / whole.stat().st_size
        loops = [ProgramLoop(path, setting.threads, max(batches)) for path in (whole, rounded)]
        for batch in batches:
            setting.say(f"int8: {size}, batch {batch}")
            figures |= _figures(setting, loops, size, batch)
    return figures


def _figures(
    setting: Setting, loops: Sequence[ProgramLoop], size: str, batch: int
) -> dict[str, float]:
    whole, rounded = loops
    slice_s = setting.effort.slice_s
    paces = in_turns(
        {
            "float32": lambda: whole.tokens_per_s(batch, slice_s),
            "int8": lambda: rounded.tokens_per_s(batch, slice_s),
        },
        setting.effort.rounds,
    )
    at = f"{size}.{batch}"
    return {
        **figure(f"int8.speed_ratio.{at}", ratios(paces["int8"], paces["float32"])),
        **figure(f"int8.tokens_per_s.{at}", paces["int8"]),
    }
