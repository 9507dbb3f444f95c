"""A generation: text as the model generates it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing, suppress
from types import TracebackType
from typing import Self

from cellwire.client import generation
from cellwire.client.errors import Cancelled
from cellwire.client.sync.background import Background
from cellwire.client.values import Finished, Piece


class Generation:
    """Text as it arrives; as `cellwire.client.Generation`.

        for text in session.generate(max_tokens=200):
            print(text, end="")

    The first read starts it, and it can be read once. Leaving the loop early cancels it; to end it
    at a known place, hold it in `with`.
    """

    def __init__(self, background: Background, source: generation.Generation) -> None:
        self._background = background
        self._source = source

    @property
    def finished(self) -> Finished | None:
        """Why and where it ended; None until it has been read to its end."""
        return self._source.finished

    def __iter__(self) -> Generator[str, None, None]:
        with closing(self.pieces()) as pieces:
            for piece in pieces:
                yield piece.text

    def pieces(self) -> Generator[Piece, None, None]:
        """Iterate over pieces, with offsets, log-probabilities and alternatives."""
        return self._background.iterate(self._source.pieces())

    def text(self) -> str:
        """Read it to its end and return the whole text."""
        return self._background.run(self._source.text())

    def cancel(self) -> None:
        """Ask the daemon to stop; another thread or a signal handler may call this.

        Returns at once. The reader still gets the text that was generated until then, and the end
        with reason CANCELLED.
        """
        self._background.post(self._source.cancel)

    def close(self) -> None:
        """Cancel it if it is still running, and drop what has not been read."""
        if self._background.in_other_process:
            return
        with suppress(Cancelled):  # its client has been closed, and it with it
            self._background.run(self._source.aclose())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
