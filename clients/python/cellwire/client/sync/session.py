"""A session: one text, one recurrent state in the daemon, one stream to it."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import suppress
from types import TracebackType
from typing import Self, Unpack

from cellwire.client import session
from cellwire.client.errors import Cancelled
from cellwire.client.model import Model
from cellwire.client.options import CompleteOptions, GenerateOptions
from cellwire.client.sync.background import Background
from cellwire.client.sync.generation import Generation
from cellwire.client.values import (
    Appended,
    Checkpointed,
    Classified,
    Completed,
    Discarded,
    Forked,
    Restored,
    Rewound,
    SafePoint,
    Scored,
)


class Session:
    """A text that the caller and the model write together; as `cellwire.client.Session`.

    A context manager, made by `Client.session` or `Client.attach`: entering opens the session or
    attaches to it, leaving deletes it, unless it has been detached.
    """

    def __init__(self, background: Background, source: session.Session) -> None:
        self._background = background
        self._source = source

    def __enter__(self) -> Self:
        self._background.run(self._source.__aenter__())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._background.in_other_process:
            return
        with suppress(Cancelled):  # its client has been closed, and it with it
            self._background.run(self._source.__aexit__(kind, error, trace))

    @property
    def id(self) -> str:
        """The session's id: 128 random bits in hexadecimal. It is all that is needed to attach."""
        return self._source.id

    @property
    def model(self) -> Model:
        """Its model, without the vocabulary's symbols."""
        return self._source.model

    @property
    def seed(self) -> int:
        """Its seed: with it, the same operations give the same text again."""
        return self._source.seed

    @property
    def offset(self) -> int:
        """Where the text that has been read here ends."""
        return self._source.offset

    @property
    def safe(self) -> SafePoint | None:
        """Of a durable session, how much of it is safe, as far as was heard; None if nothing is."""
        return self._source.safe

    @property
    def missed(self) -> str:
        """The text between the offset that was attached with and the session's end at that time."""
        return self._source.missed

    @property
    def running(self) -> tuple[int, ...]:
        """The operations that were running or waiting at attach, for `resume`."""
        return self._source.running

    def append(self, text: str | bytes) -> Appended:
        """Add text, as if the model had generated it."""
        return self._background.run(self._source.append(text))

    def generate(
        self, *, seed: int | None = None, **options: Unpack[GenerateOptions]
    ) -> Generation:
        """Let the model continue the text."""
        return Generation(self._background, self._source.generate(seed=seed, **options))

    def resume(self, operation_id: int) -> Generation:
        """Return the rest of a generation that was running or waiting at attach."""
        return Generation(self._background, self._source.resume(operation_id))

    def complete(self, **options: Unpack[CompleteOptions]) -> Completed:
        """Search for the most probable continuations; the text does not change."""
        return self._background.run(self._source.complete(**options))

    def completing(self, **options: Unpack[CompleteOptions]) -> Generator[Completed, None, None]:
        """Iterate over the best completions so far, each time they change; the last are final."""
        return self._background.iterate(self._source.completing(**options))

    def accept(self, index: int = 0, *, tokens: int | None = None) -> Appended:
        """Add a completion, or its first tokens, exactly as if they were appended."""
        return self._background.run(self._source.accept(index, tokens=tokens))

    def rewind(self, tokens: int | None = None, *, to: int | None = None) -> Rewound:
        """Go back by this many tokens, or to an offset, as if nothing after it had been added."""
        return self._background.run(self._source.rewind(tokens, to=to))

    def checkpoint(self, name: str) -> Checkpointed:
        """Keep the session as it is now under a name."""
        return self._background.run(self._source.checkpoint(name))

    def restore(self, name: str) -> Restored:
        """Make the session what it was at a checkpoint, so that it goes on as it did from there."""
        return self._background.run(self._source.restore(name))

    def discard_checkpoint(self, name: str) -> Discarded:
        """Forget a checkpoint; the session stays as it is."""
        return self._background.run(self._source.discard_checkpoint(name))

    def fork(self, *, seed: int | None = None) -> Forked:
        """Create a session that is a copy of this one; no stream is attached to it."""
        return self._background.run(self._source.fork(seed=seed))

    def score(self, text: str | bytes, *, log_probabilities: bool = False) -> Scored:
        """Compute how probable a text is as the continuation; it is not added."""
        return self._background.run(self._source.score(text, log_probabilities=log_probabilities))

    def classify(self) -> Classified:
        """Compute the scores of the model's labels for the text; it does not change."""
        return self._background.run(self._source.classify())

    def save(self) -> SafePoint:
        """Wait until all operations before this one are safe; return what is."""
        return self._background.run(self._source.save())

    def detach(self) -> None:
        """Detach from the session, after the operations before this one; the daemon keeps it."""
        self._background.run(self._source.detach())
