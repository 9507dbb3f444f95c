"""`cellwire export`.

torch takes seconds to import, so it is imported inside the command: `cellwire --help` stays quick.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Annotated

import typer

from cellwire.exporter.commands.console import console, one_line_errors


def export(
    run: Annotated[Path, typer.Argument(help="A run folder that cellwire train wrote.")],
    model: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    *,
    int8: Annotated[
        bool,
        typer.Option(
            "--int8",
            help="Round weights to 8 bits: smaller, faster, a little worse.",
        ),
    ] = False,
) -> None:
    """Export a run's best model as one file that `cellwire serve` can serve."""
    with one_line_errors():
        from cellwire.exporter.export import export_run
        from cellwire.exporter.run import Run

        written = export_run(Run.open(run), model, int8=int8)
        facts = written.manifest.training
        rounded = ""
        if int8:
            rounded = f"; rounding costs {facts.rounding_bits_per_character:.4f} more"
        console.print(
            f"{model}: {written.size_bytes / 1e6:.1f} MB, at most {facts.parity_error:.1e} from "
            f"the model in torch{' before rounding' * int8}, "
            f"{facts.validation_bits_per_character:.4f} bits per character{rounded}\n"
            f"Next: {shlex.join(['cellwire', 'serve', '--model', str(model)])}"
        )
