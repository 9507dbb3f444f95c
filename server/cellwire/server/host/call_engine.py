"""Questions to an engine, from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from cellwire.server.engine.engine import Engine
from cellwire.server.errors import Aborted, CellwireError
from cellwire.server.host.registry import ServedModel

T = TypeVar("T")


async def call_engine(model: ServedModel, question: Callable[[Engine], T]) -> T:
    """Let a model's engine answer, in its own thread between two steps; CellwireError.

    Ended if the model is being unloaded.
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def deliver(set_result: Callable[[], None]) -> None:
        if not future.done():  # whoever asked may have gone
            set_result()

    def carry_out(engine: Engine) -> None:
        try:
            answer = question(engine)
        except CellwireError as error:
            refusal = error
            loop.call_soon_threadsafe(deliver, lambda: future.set_exception(refusal))
        else:
            loop.call_soon_threadsafe(deliver, lambda: future.set_result(answer))

    if not model.loop.post(carry_out):
        raise Aborted(f"the model {model.name!r} was unloaded")
    return await future
