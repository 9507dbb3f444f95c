"""`cellwire embed`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from cellwire.exporter.commands.console import one_line_errors

if TYPE_CHECKING:
    from cellwire.exporter.data.vectors import Vectors

_WORDS_OF_AN_ANALOGY = 3


def embed(
    question: Annotated[
        Literal["neighbours", "analogy"],
        typer.Argument(
            help="neighbours WORD: the words most like it. analogy A B C: A is to B as C is to "
            "what? For example, analogy man king woman."
        ),
    ],
    words: Annotated[list[str], typer.Argument(help="One word, or three.")],
    *,
    vectors: Annotated[
        Path | None,
        typer.Option(help="A file in GloVe's text format; if not given, the source checkout's."),
    ] = None,
    run: Annotated[
        Path | None,
        typer.Option(help="The embedding that a run of words has learnt, instead of a file."),
    ] = None,
    n: Annotated[int, typer.Option("-n", min=1, help="How many answers.")] = 10,
) -> None:
    """Ask word vectors which words are alike."""
    _check(question, words, vectors, run)
    with one_line_errors():
        known = _vectors(vectors, run)
        if question == "neighbours":
            found = known.neighbours(words[0], n)
        else:
            a, b, c = words
            found = known.analogy(a, b, c, n)
        for neighbour in found:
            typer.echo(f"{neighbour.cosine:.3f} {neighbour.word}")


def _check(question: str, words: list[str], vectors: Path | None, run: Path | None) -> None:
    """Refuse what typer cannot know to be wrong."""
    if vectors and run:
        raise typer.BadParameter("--vectors and --run exclude each other.")
    if question == "neighbours" and len(words) != 1:
        raise typer.BadParameter("neighbours asks about one word.")
    if question == "analogy" and len(words) != _WORDS_OF_AN_ANALOGY:
        raise typer.BadParameter("analogy asks about three words.")


def _vectors(path: Path | None, run: Path | None) -> Vectors:
    """Read those asked for, or the committed ones."""
    from cellwire.exporter.data.vectors import COMMITTED, Vectors
    from cellwire.exporter.errors import VectorsError

    if run:
        from cellwire.exporter.runs.run_folder import Run
        from cellwire.exporter.runs.word_vectors import learnt_vectors

        return learnt_vectors(Run.open(run))
    if path is None and not COMMITTED.is_file():
        raise VectorsError(
            "no word vectors are installed; give a file in GloVe's text format with --vectors"
        )
    return Vectors.read(path or COMMITTED)
