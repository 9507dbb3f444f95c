"""What can be asked of a daemon."""

from __future__ import annotations

from types import TracebackType
from typing import Self, Unpack

from cellwire.client.answers import (
    classified_of,
    completed_of,
    forked_of,
    model_of,
    scored_of,
)
from cellwire.client.call import CallSource, reply
from cellwire.client.channel import open_channel
from cellwire.client.generation import Generation
from cellwire.client.model import Model
from cellwire.client.options import CompleteOptions, GenerateOptions, OpenOptions, UnknownSymbols
from cellwire.client.requests import (
    append_message,
    complete_message,
    generate_message,
    open_message,
    score_message,
)
from cellwire.client.session import Session
from cellwire.client.values import (
    Classified,
    Completed,
    Forked,
    Imported,
    Scored,
    SessionInfo,
)
from cellwire.v1 import generation_pb2, models_pb2, sessions_pb2
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.models_pb2_grpc import ModelsServiceStub
from cellwire.v1.operations_pb2 import Attach, Fork
from cellwire.v1.sessions_pb2_grpc import SessionsServiceStub

DEFAULT_TARGET = "127.0.0.1:50051"
"""Where `cellwire serve` listens unless told otherwise."""


def connect(target: str = DEFAULT_TARGET) -> Client:
    """Return a client for the daemon at target, HOST:PORT.

        async with connect() as daemon:
            async for text in daemon.generate("Emma ", max_chars=100):
                print(text, end="")

    Entering raises Unreachable if nothing answers there, after CONNECT_TIMEOUT_S at the latest.
    """
    return Client(target)


class Client:
    """A connection to a daemon. Any number of sessions and calls may share it.

    Each call raises the CellwireError that the daemon answers with; its docstring names those that
    a caller has to expect.
    """

    def __init__(self, target: str) -> None:
        self.target = target

    async def __aenter__(self) -> Self:
        self._channel = await open_channel(self.target)
        self._generations = GenerationServiceStub(self._channel)
        self._sessions = SessionsServiceStub(self._channel)
        self._models = ModelsServiceStub(self._channel)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection; what still runs is cancelled."""
        await self._channel.close()

    def session(self, **options: Unpack[OpenOptions]) -> Session:
        """Return a new session to enter with `async with`. See OpenOptions.

        Entering raises NotFound if there is no such model, InvalidArgument for a value out of
        range, ResourceExhausted if the daemon is full.
        """
        message = open_message(**options)
        return Session(self._generations, message)

    def attach(
        self,
        session: str | Forked | Imported,
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

        session is its id, or the answer that names it. offset says how much of its text the caller
        has; without one, all of it. takeover takes it from the stream that holds it.

        Entering raises NotFound if there is no such session, FailedPrecondition if another stream
        holds it, OutOfRange if its text has not reached the offset or the daemon no longer
        remembers all of the text after it.
        """
        session_id = session if isinstance(session, str) else session.session_id
        message = Attach(session_id=session_id, offset=offset, takeover=takeover)
        return Session(self._generations, message)

    def generate(
        self,
        prompt: str | bytes,
        *,
        model: str | None = None,
        seed: int | None = None,
        unknown_symbols: UnknownSymbols = "reject",
        **options: Unpack[GenerateOptions],
    ) -> Generation:
        """Go on from a prompt, without a session to keep.

        The arguments are those of `session` and of `Session.generate`, and so are the errors, which
        reading it raises. The prompt is not part of the text.
        """
        request = generation_pb2.GenerateRequest(
            open=open_message(model=model, seed=seed, unknown_symbols=unknown_symbols),
            prompt=append_message(prompt),
            generate=generate_message(**options),
        )
        return Generation(CallSource(self._generations, request))

    async def complete(
        self,
        prompt: str | bytes,
        *,
        model: str | None = None,
        unknown_symbols: UnknownSymbols = "reject",
        **options: Unpack[CompleteOptions],
    ) -> Completed:
        """Search for a prompt's likeliest continuations; as `Session.complete`."""
        request = generation_pb2.CompleteRequest(
            open=open_message(model=model, unknown_symbols=unknown_symbols),
            prompt=append_message(prompt),
            complete=complete_message(**options),
        )
        response = await reply(self._generations.Complete(request))
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
        """Say how likely a text is, after a prompt if there is one; as `Session.score`."""
        request = generation_pb2.ScoreRequest(
            open=open_message(model=model, unknown_symbols=unknown_symbols),
            prompt=None if prompt is None else append_message(prompt),
            score=score_message(text, log_probabilities=log_probabilities),
        )
        response = await reply(self._generations.Score(request))
        return scored_of(response.scored)

    async def classify(
        self,
        text: str | bytes,
        *,
        model: str | None = None,
        unknown_symbols: UnknownSymbols = "reject",
    ) -> Classified:
        """Say what a model makes of a text; as `Session.classify`."""
        request = generation_pb2.ClassifyRequest(
            open=open_message(model=model, unknown_symbols=unknown_symbols),
            text=append_message(text),
        )
        response = await reply(self._generations.Classify(request))
        return classified_of(response.classified)

    async def models(self) -> tuple[Model, ...]:
        """Return the models the daemon serves, the default first."""
        response = await reply(self._models.ListModels(models_pb2.ListModelsRequest()))
        return tuple(map(model_of, response.models))

    async def load_model(self, name: str) -> Model:
        """Serve another file of the daemon's model folder; name is without folder and ending.

        Raises PermissionDenied if the daemon has no such folder, NotFound if there is no such file
        in it, AlreadyExists if one of that name is served, InvalidArgument if it cannot be.
        """
        response = await reply(self._models.LoadModel(models_pb2.LoadModelRequest(name=name)))
        return model_of(response.model)

    async def unload_model(self, name: str) -> int:
        """Stop serving a model, and return how many sessions ended with it.

        Raises PermissionDenied if the daemon has no model folder, NotFound if there is no such
        model, FailedPrecondition for the default.
        """
        response = await reply(self._models.UnloadModel(models_pb2.UnloadModelRequest(name=name)))
        return response.sessions

    async def get_session(self, session_id: str) -> SessionInfo:
        """Return what a session is and does. Raises NotFound if there is none of that id."""
        request = sessions_pb2.GetSessionRequest(session_id=session_id)
        response = await reply(self._sessions.GetSession(request))
        return SessionInfo(
            model=model_of(response.model),
            offset=response.offset,
            tail=response.tail,
            attached=response.attached,
            operation_ids=tuple(response.operation_ids),
        )

    async def fork_session(self, session_id: str, *, seed: int | None = None) -> Forked:
        """Copy a session as it is at this moment, whoever is attached to it.

        Raises NotFound if there is none of that id, ResourceExhausted if there is no room.
        """
        request = sessions_pb2.ForkSessionRequest(session_id=session_id, fork=Fork(seed=seed))
        response = await reply(self._sessions.ForkSession(request))
        return forked_of(response.forked)

    async def export_session(self, session_id: str) -> bytes:
        """Return all that is needed to go on from here, on this daemon or another.

        Raises NotFound if there is none of that id.
        """
        request = sessions_pb2.ExportSessionRequest(session_id=session_id)
        response = await reply(self._sessions.ExportSession(request))
        return response.snapshot

    async def import_session(self, snapshot: bytes) -> Imported:
        """Make a session from what `export_session` returned, with nobody attached to it.

        Raises InvalidArgument if the bytes are damaged, FailedPrecondition if the daemon does not
        serve their model, ResourceExhausted if there is no room.
        """
        request = sessions_pb2.ImportSessionRequest(snapshot=snapshot)
        response = await reply(self._sessions.ImportSession(request))
        return Imported(response.session_id, model_of(response.model), response.offset)

    async def delete_session(self, session_id: str) -> None:
        """End a session at once, whoever is attached to it. Raises NotFound if there is none."""
        request = sessions_pb2.DeleteSessionRequest(session_id=session_id)
        await reply(self._sessions.DeleteSession(request))
