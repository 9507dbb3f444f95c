"""Calls of an engine from the event loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from cellwire.server.engine.engine import Engine
from cellwire.server.errors import Aborted
from cellwire.server.host.registry import ServedModel

T = TypeVar("T")


async def call_engine(model: ServedModel, function: Callable[[Engine], T]) -> T:
    """Call `function` in the engine's thread, between two runs, and return its result.

    Raises the CellwireError of the call, and Aborted if the model was unloaded.
    """
    future = model.loop.call(function)
    if future.cancelled():
        raise Aborted(f"the model {model.name!r} was unloaded")
    return await asyncio.wrap_future(future)
