"""raw: the daemon's program in a bare loop, against the practical limits.

For each model and batch, in turns, in one process with the daemon's number of threads:

- the program around the cell (gather, cell, sampling at temperature 1, scatter), bound once, in
  runs of the most steps, each row continuing from the token that was drawn for it last;
- the same with one step a run;
- the bare cell without sampling, its states in two sets of buffers that are bound once;
- its matrix products alone.

raw.tokens_per_s.<model>.<batch>    of the program
raw.cell_ratio.<model>.<batch>      program / bare cell, in tokens per second
raw.gemm_ratio.<model>.<batch>      program / matrix products alone, in tokens per second
raw.one_step_ratio.<model>.<batch>  program, one step a run / bare cell, in tokens per second
"""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.bare import BareCell, Products
from tests.bench.figures import names
from tests.bench.pace import figure, in_turns, ratios, runs_per_s
from tests.bench.setting import Setting
from tests.bench.stepping import ProgramLoop

SIZES = ("S", "M", "L")
BATCHES = (1, 4, 16, 64, 256)

_KINDS = ("tokens_per_s", "cell_ratio", "gemm_ratio", "one_step_ratio")
FIGURES = names("raw", _KINDS, SIZES, BATCHES)


def run(
    setting: Setting, sizes: Sequence[str] = SIZES, batches: Sequence[int] = BATCHES
) -> dict[str, float]:
    """Measure every model at every batch."""
    figures: dict[str, float] = {}
    for size in sizes:
        stepping = ProgramLoop(setting.models.path(size), setting.threads, max(batches))
        for batch in batches:
            setting.say(f"raw: {size}, batch {batch}")
            figures |= _figures(setting, stepping, size, batch)
    return figures


def _figures(setting: Setting, stepping: ProgramLoop, size: str, batch: int) -> dict[str, float]:
    model, slice_s = setting.models.path(size), setting.effort.slice_s
    cell = BareCell(model, setting.threads, batch)
    products = Products(model, setting.threads, batch)
    paces = in_turns(
        {
            "program": lambda: stepping.tokens_per_s(batch, slice_s),
            "one step": lambda: stepping.tokens_per_s(batch, slice_s, 1),
            "cell": lambda: runs_per_s(cell.step, slice_s) * batch,
            "products": lambda: runs_per_s(products.step, slice_s) * batch,
        },
        setting.effort.rounds,
    )
    at = f"{size}.{batch}"
    cell_pace = paces["cell"]
    return {
        **figure(f"raw.tokens_per_s.{at}", paces["program"]),
        **figure(f"raw.cell_ratio.{at}", ratios(paces["program"], cell_pace)),
        **figure(f"raw.gemm_ratio.{at}", ratios(paces["program"], paces["products"])),
        **figure(f"raw.one_step_ratio.{at}", ratios(paces["one step"], cell_pace)),
    }
