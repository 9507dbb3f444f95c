"""`cellwire export`.

torch takes seconds to import, so it is imported inside the command: `cellwire --help` stays fast.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cellwire.exporter.commands.console import console, one_line_errors
from cellwire.exporter.commands.shell import path_word, shell_line
from cellwire.exporter.report.printable import printable_line

if TYPE_CHECKING:
    from cellwire.model_file.manifest import Manifest


def export(
    run: Annotated[Path, typer.Argument(help="A run folder that cellwire train wrote.")],
    model: Annotated[Path, typer.Argument(help="The .onnx file to write.")],
    *,
    weights: Annotated[
        Literal["float32", "float16", "int8"],
        typer.Option(
            help="float16: half the size, almost the same loss. int8: a quarter of the size and "
            "faster on a CPU, with a slightly higher loss; not for cells with unbounded states, "
            "such as rnn_relu and mingru."
        ),
    ] = "float32",
    checkpoint: Annotated[
        str,
        typer.Option(help="best, last, or one that was kept, such as step-200."),
    ] = "best",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a file that is no model from an export, too.")
    ] = False,
) -> None:
    """Export a run's model as one file that `cellwire serve` can serve.

    The exported model is compared with the trained one before the file is written.
    """
    with one_line_errors():
        from cellwire.exporter.export.export_run import export_run
        from cellwire.exporter.export.target import check_target
        from cellwire.exporter.runs.run_folder import RunFolder

        check_target(model)
        if not force:
            _ask_to_replace(model)
        exported = export_run(RunFolder.open(run), model, weights=weights, checkpoint=checkpoint)
        size = f"{exported.size_bytes / 1e6:.1f} MB"
        console.print(f"{printable_line(str(model))}: {size}, {_describe(exported.manifest)}")
        console.print(f"Next: {shell_line(['cellwire', 'serve', '--model', path_word(model)])}")


def is_at_terminal() -> bool:
    """Whether there is a user to ask."""
    return sys.stdin.isatty() and console.is_terminal


def _ask_to_replace(path: Path) -> None:
    """Ask before a file is lost that no export wrote; FileError if that is refused."""
    from cellwire.exporter.errors import FileError
    from cellwire.exporter.export.target import may_be_replaced

    if may_be_replaced(path):
        return
    found = f"{path} is there already, and no model that cellwire export wrote"
    if not is_at_terminal():
        raise FileError(f"{found}; add --force to replace it, or name another file")
    try:
        replace = typer.confirm(f"{printable_line(found)}. Replace it?", err=True)
    except typer.Abort:
        replace = False
    if not replace:
        raise FileError(f"{path} is left as it is")


def _describe(manifest: Manifest) -> str:
    """Return the difference from the model in torch, and the model's quality."""
    from cellwire.exporter.export.manifest import describe_quality
    from cellwire.model_file.manifest import TrainingFacts

    training, weights = manifest.training or TrainingFacts(), manifest.cell.weights
    parity = f"at most {training.parity_error:.1e} from the model in torch"
    quality = describe_quality(training)
    if weights == "float32":
        return f"{parity}, {quality}"
    unit = "text" if manifest.labels else manifest.vocabulary.kind.removesuffix("s")
    return (
        f"{parity} before rounding, {quality}; rounding to {weights}: at most "
        f"{training.rounding_error:.1e} from it, {training.rounding_bits:.4f} bits per {unit} worse"
    )
