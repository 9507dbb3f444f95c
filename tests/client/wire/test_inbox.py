"""An inbox between the stream and a slow reader."""

from __future__ import annotations

import asyncio

from cellwire.client import (
    Completed,
)
from cellwire.client.values import Completing, Piece
from cellwire.client.wire.inbox import MAX_WAITING_CHARACTERS, Inbox


async def test_the_rest_is_taken_however_much_waits() -> None:
    inbox, piece = Inbox(operation_id=1), Piece(0, "a" * MAX_WAITING_CHARACTERS, 4096)
    await inbox.put(piece)
    waiting = asyncio.create_task(inbox.put(piece))
    await asyncio.sleep(0)
    assert not waiting.done()
    inbox.take_rest()
    await waiting
    await inbox.put(piece)
    assert [await inbox.take() for _ in range(3)] == [piece] * 3


async def test_a_slow_reader_of_a_search_gets_the_newest() -> None:
    inbox = Inbox(operation_id=1)
    for offset in range(1, 4):
        await inbox.put(Completing(Completed(offset, ())))
    inbox.end(Completed(4, ()))
    assert await inbox.take() == Completing(Completed(3, ()))
    assert await inbox.take() == Completed(4, ())
