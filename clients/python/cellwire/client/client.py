"""A client: the connection to a daemon, and its calls."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

from cellwire.client.durable.beginning import Beginning
from cellwire.client.durable.reconnection import (
    RECONNECT_TIMEOUT_S,
    OnReconnect,
    Reconnection,
)
from cellwire.client.errors import Cancelled, FailedPrecondition
from cellwire.client.generation import Generation
from cellwire.client.model import Model
from cellwire.client.options import (
    CompleteOptions,
    GenerateOptions,
    OpenOptions,
    UnknownSymbols,
)
from cellwire.client.session import Session
from cellwire.client.session_calls import SessionCalls
from cellwire.client.values import Classified, Completed, Forked, Scored, SessionInfo
from cellwire.client.wire.answers import (
    classified_of,
    completed_of,
    model_of,
    scored_of,
)
from cellwire.client.wire.call import CallSource, response_of
from cellwire.client.wire.connection import Connection, open_connection
from cellwire.client.wire.requests import (
    append_message,
    complete_message,
    generate_message,
    open_message,
    score_message,
)
from cellwire.v1 import generation_pb2, models_pb2
from cellwire.v1.operations_pb2 import Attach, Open

DEFAULT_TARGET = "127.0.0.1:50051"
"""Where `cellwire serve` listens by default."""


def connect(
    target: str = DEFAULT_TARGET,
    *,
    reconnect: bool = True,
    reconnect_timeout_s: float = RECONNECT_TIMEOUT_S,
    on_reconnect: OnReconnect | None = None,
) -> Client:
    """Return a client for the daemon at target, HOST:PORT.

        async with connect() as daemon:
            async for text in daemon.generate("Emma ", max_tokens=100):
                print(text, end="")

    Entering raises Unreachable if nothing answers there, after CONNECT_TIMEOUT_S at the latest.

    A durable session that has lost its daemon attaches again by itself: what its callers read goes
    on where it was, and nothing is done twice. on_reconnect is called, in the event loop, with
    ConnectionLost and ConnectionRestored. If the daemon is not back within reconnect_timeout_s, or
    the session cannot go on, its operations raise the error. With reconnect=False they raise it at
    once.
    """
    return Client(target, Reconnection(reconnect_timeout_s, on_reconnect) if reconnect else None)


class Client(SessionCalls):
    """A connection to a daemon. Any number of sessions and calls may share it.

    Each call raises the CellwireError that the daemon answers with; its docstring names those that
    a caller has to expect.
    """

    def __init__(self, target: str, reconnection: Reconnection | None = None) -> None:
        self.target = target
        self._reconnection = reconnection
        self._connection: Connection | None = None
        self._closed = False

    async def __aenter__(self) -> Self:
        if self._connection is not None:
            raise FailedPrecondition("the client is connected already; enter it once")
        self._connection = await open_connection(self.target)
        self._closed = False
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection and cancel what still runs."""
        connection, self._connection, self._closed = self._connection, None, True
        if connection is not None:
            await connection.aclose()

    @property
    def _open(self) -> Connection:
        """The connection; FailedPrecondition or Cancelled if there is none."""
        if self._connection is not None:
            self._connection.process.check()
            return self._connection
        if self._closed:
            raise Cancelled("the client is closed")
        raise FailedPrecondition(
            "the client is not connected: enter it, as in `async with connect() as daemon:`"
        )

    def session(self, **options: Unpack[OpenOptions]) -> Session:
        """Return a new session to enter with `async with`. See OpenOptions.

        Entering raises NotFound if there is no such model, InvalidArgument for a value out of
        range, ResourceExhausted if the daemon is full.
        """
        return self._session(open_message(**options))

    def attach(
        self,
        session: str | Forked | SessionInfo,
        *,
        offset: int | None = None,
        takeover: bool = False,
    ) -> Session:
        """Return a session that the daemon keeps, to enter with `async with`.

            async with daemon.attach(session_id, offset=120) as session:
                print(session.missed, end="")
                for operation_id in session.running:
                    async for text in session.resume(operation_id):
                        print(text, end="")

        session is its id, or an answer that has it. offset is how much of its text the caller has;
        without one, all of it. takeover takes it over from the stream that is attached to it.

        Entering raises NotFound if there is no such session, FailedPrecondition if another stream
        is attached to it, OutOfRange if its text is shorter than the offset or the daemon no longer
        keeps all of the text after it.
        """
        session_id = session if isinstance(session, str) else session.session_id
        message = Attach(session_id=session_id, offset=offset, takeover=takeover)
        return self._session(message)

    def _session(self, message: Open | Attach) -> Session:
        return Session(Beginning(self._open, message, self._reconnection))

    def generate(
        self,
        prompt: str | bytes,
        *,
        model: str | None = None,
        seed: int | None = None,
        unknown_symbols: UnknownSymbols = "reject",
        **options: Unpack[GenerateOptions],
    ) -> Generation:
        """Continue a prompt without a session.

        The arguments are those of `session` and of `Session.generate`, and so are the errors, which
        reading it raises. The prompt is not part of the text.
        """
        request = generation_pb2.GenerateRequest(
            open=open_message(model=model, seed=seed, unknown_symbols=unknown_symbols),
            prompt=append_message(prompt),
            generate=generate_message(**options),
        )
        return Generation(CallSource(self._open.generations, request))

    async def complete(
        self,
        prompt: str | bytes,
        *,
        model: str | None = None,
        unknown_symbols: UnknownSymbols = "reject",
        **options: Unpack[CompleteOptions],
    ) -> Completed:
        """Search for a prompt's most probable continuations; as `Session.complete`."""
        request = generation_pb2.CompleteRequest(
            open=open_message(model=model, unknown_symbols=unknown_symbols),
            prompt=append_message(prompt),
            complete=complete_message(**options),
        )
        response = await response_of(self._open.generations.Complete(request))
        return completed_of(response.completed)

    async def score(
        self,
        text: str | bytes,
        *,
        prompt: str | bytes | None = None,
        model: str | None = None,
        unknown_symbols: UnknownSymbols = "reject",
        log_probabilities: bool = False,
    ) -> Scored:
        """Compute how probable a text is, after a prompt if there is one; as `Session.score`."""
        request = generation_pb2.ScoreRequest(
            open=open_message(model=model, unknown_symbols=unknown_symbols),
            prompt=None if prompt is None else append_message(prompt),
            score=score_message(text, log_probabilities=log_probabilities),
        )
        response = await response_of(self._open.generations.Score(request))
        return scored_of(response.scored)

    async def classify(
        self,
        prompt: str | bytes,
        *,
        model: str | None = None,
        unknown_symbols: UnknownSymbols = "reject",
    ) -> Classified:
        """Compute the scores of a model's labels for a prompt; as `Session.classify`."""
        request = generation_pb2.ClassifyRequest(
            open=open_message(model=model, unknown_symbols=unknown_symbols),
            prompt=append_message(prompt),
        )
        response = await response_of(self._open.generations.Classify(request))
        return classified_of(response.classified)

    async def models(self) -> tuple[Model, ...]:
        """Return the models of the daemon, the default first, without their symbols."""
        models: list[Model] = []
        request = models_pb2.ListModelsRequest()
        while True:
            response = await response_of(self._open.models.ListModels(request))
            models.extend(map(model_of, response.models))
            if not response.next_page_token:
                return tuple(models)
            request.page_token = response.next_page_token

    async def model(self, name: str | None = None) -> Model:
        """Return one model with its vocabulary's symbols; None means the default model.

        Raises NotFound if there is no such model.
        """
        request = models_pb2.GetModelRequest(name=name or "", view=models_pb2.MODEL_VIEW_FULL)
        response = await response_of(self._open.models.GetModel(request))
        return model_of(response.model)

    async def load_model(self, name: str) -> Model:
        """Serve another file of the daemon's model folder; name is the file name without ".onnx".

        Raises PermissionDenied if the daemon has no model folder, NotFound if the folder has no
        such file, AlreadyExists if a model of that name is served, InvalidArgument if the file
        cannot be served.
        """
        request = models_pb2.LoadModelRequest(name=name)
        response = await response_of(self._open.models.LoadModel(request))
        return model_of(response.model)

    async def unload_model(self, name: str) -> int:
        """Stop serving a model, and return how many sessions ended with it.

        Raises PermissionDenied if the daemon has no model folder, NotFound if there is no such
        model, FailedPrecondition for the default model.
        """
        request = models_pb2.UnloadModelRequest(name=name)
        response = await response_of(self._open.models.UnloadModel(request))
        return response.ended_session_count
