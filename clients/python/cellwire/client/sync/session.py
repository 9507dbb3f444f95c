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
from cellwire.client.values import Appended, Classified, Completed, Forked, Rewound, Scored


class Session:
    """A text that the caller and the model write together; as `cellwire.client.Session`.

    A context manager, made by `Client.session` or `Client.attach`: entering opens the session or
    takes it up, leaving deletes it, unless it has been detached.
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
        with suppress(Cancelled):  # with its client, the session was closed too
            self._background.run(self._source.__aexit__(kind, error, trace))

    @property
    def id(self) -> str:
        """The session's name: 128 random bits in hexadecimal. Who knows it can attach to it."""
        return self._source.id

    @property
    def model(self) -> Model:
        """The model it runs on."""
        return self._source.model

    @property
    def seed(self) -> int:
        """The seed in use."""
        return self._source.seed

    @property
    def offset(self) -> int:
        """Where the text ends, as far as it has been read here."""
        return self._source.offset

    @property
    def missed(self) -> str:
        """The text between the offset that was attached with and the session's end then."""
        return self._source.missed

    @property
    def running(self) -> tuple[int, ...]:
        """What ran or waited when this session was attached to, for `resume`."""
        return self._source.running

    def append(self, text: str | bytes) -> Appended:
        """Add text, as if the model had written it."""
        return self._background.run(self._source.append(text))

    def generate(
        self, *, seed: int | None = None, **options: Unpack[GenerateOptions]
    ) -> Generation:
        """Let the model go on; what it writes joins the session."""
        return Generation(self._background, self._source.generate(seed=seed, **options))

    def resume(self, operation_id: int) -> Generation:
        """Return the rest of a generation that ran or waited when this session was attached to."""
        return Generation(self._background, self._source.resume(operation_id))

    def complete(self, **options: Unpack[CompleteOptions]) -> Completed:
        """Search for the likeliest continuations; the session does not move."""
        return self._background.run(self._source.complete(**options))

    def completing(self, **options: Unpack[CompleteOptions]) -> Generator[Completed, None, None]:
        """Iterate over the best continuations so far, each time they change; the last are final."""
        return self._background.iterate(self._source.completing(**options))

    def accept(self, index: int = 0, *, chars: int | None = None) -> Appended:
        """Add a completion, or its first characters, exactly as if it were appended."""
        return self._background.run(self._source.accept(index, chars=chars))

    def rewind(self, chars: int | None = None, *, to: int | None = None) -> Rewound:
        """Go back by so many characters, or to an offset, as if nothing after it had been."""
        return self._background.run(self._source.rewind(chars, to=to))

    def fork(self, *, seed: int | None = None) -> Forked:
        """Make a session that begins as a copy of this one, with nobody attached to it."""
        return self._background.run(self._source.fork(seed=seed))

    def score(self, text: str | bytes, *, log_probabilities: bool = False) -> Scored:
        """Say how likely a text is as the continuation; the session does not move."""
        return self._background.run(self._source.score(text, log_probabilities=log_probabilities))

    def classify(self) -> Classified:
        """Say what the model makes of the text so far; the session does not move."""
        return self._background.run(self._source.classify())

    def detach(self) -> None:
        """Let go of the session, after the operations before this one; the daemon keeps it."""
        self._background.run(self._source.detach())
