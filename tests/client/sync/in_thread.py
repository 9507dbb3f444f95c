"""Runs a program without an event loop."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import TypeVar

from cellwire.client import sync

GUARD_S = 60
_Value = TypeVar("_Value")


async def run(target: str, program: Callable[[sync.Client], _Value]) -> _Value:
    """Return the result of a program without an event loop."""

    def connected() -> _Value:
        with sync.connect(target) as daemon:
            return program(daemon)

    value = await asyncio.wait_for(asyncio.to_thread(connected), GUARD_S)
    assert "cellwire client" not in {thread.name for thread in threading.enumerate()}
    return value
