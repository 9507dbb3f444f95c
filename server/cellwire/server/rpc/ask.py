"""Questions to an engine, from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from cellwire.server.engine import Engine
from cellwire.server.errors import CellwireError
from cellwire.server.registry import ServedModel

T = TypeVar("T")


async def ask(model: ServedModel, question: Callable[[Engine], T]) -> T:
    """Let a model's engine answer, in its own thread between two steps; CellwireError."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()

    def reply(deliver: Callable[[T | CellwireError], None], value: T | CellwireError) -> None:
        if not answer.done():  # whoever asked may have gone
            deliver(value)

    def carry_out(engine: Engine) -> None:
        try:
            value = question(engine)
        except CellwireError as error:
            loop.call_soon_threadsafe(reply, answer.set_exception, error)
        else:
            loop.call_soon_threadsafe(reply, answer.set_result, value)

    model.loop.post(carry_out)
    return await answer
