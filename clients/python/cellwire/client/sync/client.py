"""A client: the connection to a daemon, and its calls."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

from cellwire.client import client
from cellwire.client.durability import Durability
from cellwire.client.durable.reconnection import RECONNECT_TIMEOUT_S, OnReconnect
from cellwire.client.errors import FailedPrecondition
from cellwire.client.model import Model
from cellwire.client.options import (
    CompleteOptions,
    DurabilityName,
    GenerateOptions,
    OpenOptions,
    UnknownSymbols,
)
from cellwire.client.sync.background import Background
from cellwire.client.sync.generation import Generation
from cellwire.client.sync.session import Session
from cellwire.client.values import Classified, Completed, Forked, Scored, SessionInfo


def connect(
    target: str = client.DEFAULT_TARGET,
    *,
    reconnect: bool = True,
    reconnect_timeout_s: float = RECONNECT_TIMEOUT_S,
    on_reconnect: OnReconnect | None = None,
) -> Client:
    """Return a client for the daemon at target, HOST:PORT.

        with connect() as daemon:
            for text in daemon.generate("Emma ", max_tokens=100):
                print(text, end="")

    Entering raises Unreachable if nothing answers there, after CONNECT_TIMEOUT_S at the latest.

    A durable session that has lost its daemon attaches again by itself, as
    `cellwire.client.connect` says. on_reconnect is called in the client's thread, and must not call
    the client.
    """
    source = client.connect(
        target,
        reconnect=reconnect,
        reconnect_timeout_s=reconnect_timeout_s,
        on_reconnect=on_reconnect,
    )
    return Client(source)


class Client:
    """A connection to a daemon; as `cellwire.client.Client`."""

    def __init__(self, source: client.Client) -> None:
        self._source = source
        self._entered: Background | None = None

    @property
    def target(self) -> str:
        """The daemon's address, HOST:PORT."""
        return self._source.target

    def __enter__(self) -> Self:
        if self._entered is not None and self._entered.open:
            raise FailedPrecondition("the client is connected already; enter it once")
        background = Background()
        try:
            background.run(self._source.__aenter__())
        except BaseException:
            background.close()
            raise
        self._entered = background
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection and cancel what still runs."""
        if self._entered is None or self._entered.in_other_process:
            return
        try:
            self._entered.run(self._source.__aexit__(kind, error, trace))
        finally:
            self._entered.close()

    @property
    def _background(self) -> Background:
        """The thread of its calls; FailedPrecondition if it has not been entered."""
        if self._entered is None:
            raise FailedPrecondition(
                "the client is not connected: enter it, as in `with connect() as daemon:`"
            )
        return self._entered

    def session(self, **options: Unpack[OpenOptions]) -> Session:
        """Return a new session to enter with `with`."""
        return Session(self._background, self._source.session(**options))

    def attach(
        self,
        session: str | Forked | SessionInfo,
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
        """Continue a prompt without a session."""
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
        """Search for a prompt's most probable continuations."""
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
        """Compute how probable a text is, after a prompt if there is one."""
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
        prompt: str | bytes,
        *,
        model: str | None = None,
        unknown_symbols: UnknownSymbols = "reject",
    ) -> Classified:
        """Compute the scores of a model's labels for a prompt."""
        return self._background.run(
            self._source.classify(prompt, model=model, unknown_symbols=unknown_symbols)
        )

    def models(self) -> tuple[Model, ...]:
        """Return the models of the daemon, the default first, without their symbols."""
        return self._background.run(self._source.models())

    def model(self, name: str | None = None) -> Model:
        """Return one model with its vocabulary's symbols; None means the default model."""
        return self._background.run(self._source.model(name))

    def load_model(self, name: str) -> Model:
        """Serve another file of the model folder; name is the file name without ".onnx"."""
        return self._background.run(self._source.load_model(name))

    def unload_model(self, name: str) -> int:
        """Stop serving a model, and return how many sessions ended with it."""
        return self._background.run(self._source.unload_model(name))

    def get_session(self, session_id: str) -> SessionInfo:
        """Return a session's position and activity."""
        return self._background.run(self._source.get_session(session_id))

    def fork_session(self, session_id: str, *, seed: int | None = None) -> SessionInfo:
        """Copy a session as it is at this moment, even while a stream is attached to it."""
        return self._background.run(self._source.fork_session(session_id, seed=seed))

    def export_session(self, session_id: str) -> bytes:
        """Return a session as bytes, to continue it on this daemon or on another."""
        return self._background.run(self._source.export_session(session_id))

    def import_session(
        self,
        snapshot: bytes,
        *,
        session_id: str | None = None,
        durability: Durability | DurabilityName = Durability.NONE,
    ) -> SessionInfo:
        """Create a session from the bytes of `export_session`; no stream is attached to it."""
        return self._background.run(
            self._source.import_session(snapshot, session_id=session_id, durability=durability)
        )

    def delete_session(self, session_id: str) -> None:
        """Delete a session at once, even while a stream is attached to it."""
        self._background.run(self._source.delete_session(session_id))
