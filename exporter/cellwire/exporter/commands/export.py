"""`cellwire export`.

torch takes seconds to import, so it is imported inside the command: `cellwire --help` stays quick.
"""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cellwire.exporter.commands.console import console, one_line_errors

if TYPE_CHECKING:
    from cellwire.exporter.export.manifest import Manifest


def export(
    run: Annotated[Path, typer.Argument(help="A run folder that cellwire train wrote.")],
    model: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    *,
    weights: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(
            help="float16: half the size, hardly worse. int8: a quarter, and faster on a CPU, a "
            "little worse; not for rnn_relu and mingru cells."
        ),
    ] = "float32",
    checkpoint: Annotated[
        str,
        typer.Option(help="best, last, or one that training kept, as step-200."),
    ] = "best",
) -> None:
    """Export a run's model as one file that `cellwire serve` can serve.

    Before anything is written, the file's model is proven equal to the trained one.
    """
    with one_line_errors():
        from cellwire.exporter.export.export_run import export_run
        from cellwire.exporter.runs.run_folder import Run

        written = export_run(Run.open(run), model, weights=weights, checkpoint=checkpoint)
        console.print(
            f"{model}: {written.size_bytes / 1e6:.1f} MB, {_told(written.manifest)}\n"
            f"Next: {shlex.join(['cellwire', 'serve', '--model', str(model)])}"
        )


def _told(manifest: Manifest) -> str:
    """Say how near the file is to the model in torch, and how good that is."""
    facts, weights = manifest.training, manifest.cell.weights
    proof = f"at most {facts.parity_error:.1e} from the model in torch"
    if weights == "float32":
        return f"{proof}, {facts.quality}"
    each = {"characters": "character", "words": "word"}[manifest.vocabulary.kind]
    return (
        f"{proof} before rounding, {facts.quality}; rounding to {weights}: at most "
        f"{facts.rounding_error:.1e} from it, {facts.rounding_bits:.4f} bits per "
        f"{'text' if manifest.labels else each} worse"
    )
