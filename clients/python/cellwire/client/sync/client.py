"""What can be asked of a daemon."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

from cellwire.client import client
from cellwire.client.model import Model
from cellwire.client.options import CompleteOptions, GenerateOptions, OpenOptions, UnknownSymbols
from cellwire.client.sync.background import Background
from cellwire.client.sync.generation import Generation
from cellwire.client.sync.session import Session
from cellwire.client.values import Classified, Completed, Forked, Imported, Scored, SessionInfo


def connect(target: str = client.DEFAULT_TARGET) -> Client:
    """Return a client for the daemon at target, HOST:PORT.

        with connect() as daemon:
            for text in daemon.generate("Emma ", max_chars=100):
                print(text, end="")

    Entering raises Unreachable if nothing answers there, after CONNECT_TIMEOUT_S at the latest.
    """
    return Client(target)


class Client:
    """A connection to a daemon; as `cellwire.client.Client`."""

    def __init__(self, target: str) -> None:
        self._source = client.Client(target)

    @property
    def target(self) -> str:
        """The daemon's address, HOST:PORT."""
        return self._source.target

    def __enter__(self) -> Self:
        self._background = Background()
        try:
            self._background.run(self._source.__aenter__())
        except BaseException:
            self._background.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection; what still runs is cancelled."""
        try:
            self._background.run(self._source.__aexit__(kind, error, trace))
        finally:
            self._background.close()

    def session(self, **options: Unpack[OpenOptions]) -> Session:
        """Return a new session to enter with `with`."""
        return Session(self._background, self._source.session(**options))

    def attach(
        self,
        session: str | Forked | Imported,
        *,
        offset: int | None = None,
        takeover: bool = False,
    ) -> Session:
        """Return a session that the daemon keeps, to enter with `with`."""
        source = self._source.attach(session, offset=offset, takeover=takeover)
        return Session(self._background, source)

    def generate(
        self,
        prompt: str | bytes,
        *,
        model: str | None = None,
        seed: int | None = None,
        unknown_symbols: UnknownSymbols = "reject",
        **options: Unpack[GenerateOptions],
    ) -> Generation:
        """Go on from a prompt, without a session to keep."""
        source = self._source.generate(
            prompt, model=model, seed=seed, unknown_symbols=unknown_symbols, **options
        )
        return Generation(self._background, source)

    def complete(
        self,
        prompt: str | bytes,
        *,
        model: str | None = None,
        unknown_symbols: UnknownSymbols = "reject",
        **options: Unpack[CompleteOptions],
    ) -> Completed:
        """Search for a prompt's likeliest continuations."""
        return self._background.run(
            self._source.complete(prompt, model=model, unknown_symbols=unknown_symbols, **options)
        )

    def score(
        self,
        text: str | bytes,
        *,
        prompt: str | bytes | None = None,
        model: str | None = None,
        unknown_symbols: UnknownSymbols = "reject",
        log_probabilities: bool = False,
    ) -> Scored:
        """Say how likely a text is, after a prompt if there is one."""
        return self._background.run(
            self._source.score(
                text,
                prompt=prompt,
                model=model,
                unknown_symbols=unknown_symbols,
                log_probabilities=log_probabilities,
            )
        )

    def classify(
        self,
        text: str | bytes,
        *,
        model: str | None = None,
        unknown_symbols: UnknownSymbols = "reject",
    ) -> Classified:
        """Say what a model makes of a text."""
        return self._background.run(
            self._source.classify(text, model=model, unknown_symbols=unknown_symbols)
        )

    def models(self) -> tuple[Model, ...]:
        """Return the models the daemon serves, the default first."""
        return self._background.run(self._source.models())

    def load_model(self, name: str) -> Model:
        """Serve another file of the daemon's model folder; name is without folder and ending."""
        return self._background.run(self._source.load_model(name))

    def unload_model(self, name: str) -> int:
        """Stop serving a model, and return how many sessions ended with it."""
        return self._background.run(self._source.unload_model(name))

    def get_session(self, session_id: str) -> SessionInfo:
        """Return what a session is and does."""
        return self._background.run(self._source.get_session(session_id))

    def fork_session(self, session_id: str, *, seed: int | None = None) -> Forked:
        """Copy a session as it is at this moment, whoever is attached to it."""
        return self._background.run(self._source.fork_session(session_id, seed=seed))

    def export_session(self, session_id: str) -> bytes:
        """Return all that is needed to go on from here, on this daemon or another."""
        return self._background.run(self._source.export_session(session_id))

    def import_session(self, snapshot: bytes) -> Imported:
        """Make a session from what `export_session` returned, with nobody attached to it."""
        return self._background.run(self._source.import_session(snapshot))

    def delete_session(self, session_id: str) -> None:
        """End a session at once, whoever is attached to it."""
        self._background.run(self._source.delete_session(session_id))
