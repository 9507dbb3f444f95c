"""`cellwire embed`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cellwire.exporter.commands.console import one_line_errors, print_result

if TYPE_CHECKING:
    from cellwire.exporter.data.vectors import Vectors

_ANALOGY_WORDS = 3


def embed(
    query: Annotated[
        Literal["neighbours", "analogy"],
        typer.Argument(
            help="neighbours WORD: the most similar words. analogy A B C: A is to B as C is to "
            "what? For example, analogy man king woman."
        ),
    ],
    words: Annotated[list[str], typer.Argument(help="One word, or three.")],
    *,
    vectors: Annotated[
        Path | None,
        typer.Option(help="A file in GloVe's text format. Default: the source checkout's."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="The embedding of a run trained on words, instead of a file."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="The number of answers.")] = 10,
) -> None:
    """Find similar words by their vectors."""
    _check(query, words, vectors, run)
    with one_line_errors():
        table = _vectors(vectors, run)
        if query == "neighbours":
            answers = table.neighbours(words[0], n)
        else:
            a, b, c = words
            answers = table.analogy(a, b, c, n)
        for neighbour in answers:
            print_result(f"{neighbour.cosine:.3f} {neighbour.word}")


def _check(query: str, words: list[str], vectors: Path | None, run: Path | None) -> None:
    """Refuse combinations that typer cannot check."""
    if vectors and run:
        raise typer.BadParameter("--vectors and --run exclude each other.")
    if query == "neighbours" and len(words) != 1:
        raise typer.BadParameter("neighbours takes one word.")
    if query == "analogy" and len(words) != _ANALOGY_WORDS:
        raise typer.BadParameter("analogy takes three words.")


def _vectors(path: Path | None, run: Path | None) -> Vectors:
    """Return the vectors of a run, of a file, or of the source checkout."""
    from cellwire.exporter.data.vectors import COMMITTED, Vectors
    from cellwire.exporter.errors import VectorsError

    if run:
        from cellwire.exporter.runs.run_folder import RunFolder
        from cellwire.exporter.runs.word_vectors import word_vectors

        return word_vectors(RunFolder.open(run))
    if path is None and not COMMITTED.is_file():
        raise VectorsError(
            "no word vectors are installed; give a file in GloVe's text format with --vectors"
        )
    return Vectors.read(path or COMMITTED)
