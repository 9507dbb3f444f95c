"""The connection to a daemon."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

import grpc
import grpc.aio

from cellwire.client.call import CallSource
from cellwire.client.errors import Unreachable, error_of_rpc
from cellwire.client.generation import Generation
from cellwire.client.session import Session
from cellwire.client.values import Model
from cellwire.client.wire import generate_message, model_of, open_message
from cellwire.v1.generation_pb2 import GenerateRequest
from cellwire.v1.generation_pb2_grpc import GenerationServiceStub
from cellwire.v1.models_pb2 import ListModelsRequest
from cellwire.v1.models_pb2_grpc import ModelsServiceStub
from cellwire.v1.operations_pb2 import Append

DEFAULT_TARGET = "127.0.0.1:50051"
"""Where `cellwire serve` listens unless told otherwise."""

CONNECT_TIMEOUT_S = 5.0
"""How long a daemon has to answer before it counts as unreachable."""

_CHANNEL_OPTIONS = (
    ("grpc.max_receive_message_length", 16 * 2**20),
    # Connections are shared by target within a process, with their waits after a failure. A client
    # of its own tries at once, so a program can wait for its daemon.
    ("grpc.use_local_subchannel_pool", 1),
)


def connect(target: str = DEFAULT_TARGET) -> Client:
    """Return a client for the daemon at target, HOST:PORT.

        async with connect() as daemon:
            async for text in daemon.generate("Emma ", max_chars=100):
                print(text, end="")

    Entering raises Unreachable if nothing answers there, after CONNECT_TIMEOUT_S at the latest.
    """
    return Client(target)


class Client:
    """A connection to a daemon. Any number of sessions and generations may share it."""

    def __init__(self, target: str) -> None:
        self.target = target

    async def __aenter__(self) -> Self:
        self._channel = grpc.aio.insecure_channel(self.target, options=_CHANNEL_OPTIONS)
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                await self._reach()
        except TimeoutError:
            await self._channel.close()
            raise Unreachable(f"cannot reach a daemon at {self.target}") from None
        except BaseException:
            await self._channel.close()
            raise
        self._generations = GenerationServiceStub(self._channel)
        self._models = ModelsServiceStub(self._channel)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the connection; generations that still run are cancelled."""
        await self._channel.close()

    async def models(self) -> tuple[Model, ...]:
        """Return the models the daemon serves, the default first."""
        try:
            response = await self._models.ListModels(ListModelsRequest())
        except grpc.aio.AioRpcError as error:
            raise error_of_rpc(error) from None
        return tuple(map(model_of, response.models))

    def session(self, *, model: str | None = None, seed: int | None = None) -> Session:
        """Return a session to enter with `async with`.

        Without a model it runs on the daemon's default; without a seed the daemon chooses one.
        Entering raises NotFound if there is no such model, ResourceExhausted if the daemon is full.
        """
        return Session(self._generations, open_message(model, seed))

    def generate(
        self,
        prompt: str,
        *,
        max_chars: int,
        model: str | None = None,
        seed: int | None = None,
        temperature: float = 1.0,
        top_k: int = 0,
        log_probabilities: bool = False,
    ) -> Generation:
        """Go on from a prompt, without a session to keep.

        The arguments are those of `session` and of `Session.generate`, and so are the errors, which
        reading it raises. The prompt is not part of the text.
        """
        request = GenerateRequest(
            open=open_message(model, seed),
            prompt=Append(text=prompt),
            generate=generate_message(
                max_chars, temperature, top_k, log_probabilities=log_probabilities
            ),
        )
        return Generation(CallSource(self._generations, request))

    async def _reach(self) -> None:
        """Wait until the connection stands; raise TimeoutError as soon as it is refused."""
        state = self._channel.get_state(try_to_connect=True)
        while state is not grpc.ChannelConnectivity.READY:
            if state is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
                raise TimeoutError
            await self._channel.wait_for_state_change(state)
            state = self._channel.get_state(try_to_connect=True)
