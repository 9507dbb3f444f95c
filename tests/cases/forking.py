"""A program that connects and forks, and prints what its children hear: forking.py TARGET."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable

from cellwire import client
from cellwire.client import sync

CHILDREN = 20
_GUARD_S = 30


def status_of_child(call: Callable[[], object]) -> str:
    """Fork, and call in the child; return what that raises, or how the child ended."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        signal.alarm(_GUARD_S)  # a child that hangs is killed
        try:
            outcome = f"returned {call()!r}"
        except BaseException as error:  # noqa: BLE001  # whatever it is
            outcome = f"{type(error).__name__}: {error}"
        os.write(writing, outcome.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        outcome = pipe.read().decode()
    status = os.waitpid(child, 0)[1]
    return outcome if status == 0 else f"ended with status {status}"


async def in_event_loop(target: str) -> None:
    async with client.connect(target) as daemon, daemon.session() as session:
        for _ in range(CHILDREN):
            call = session.append("a")
            print(status_of_child(lambda: call.send(None)))  # noqa: B023, T201  # called at once
            call.close()
            await session.append("a")


def without_event_loop(target: str) -> None:
    with sync.connect(target) as daemon, daemon.session() as session:
        for _ in range(CHILDREN):
            print(status_of_child(lambda: session.append("a")))  # noqa: T201
            session.append("a")


asyncio.run(in_event_loop(sys.argv[1]))
without_event_loop(sys.argv[1])
