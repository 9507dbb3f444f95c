"""An inbox between the stream and a slow reader."""

from __future__ import annotations

from cellwire.client import (
    Completed,
)
from cellwire.client.values import Completing
from cellwire.client.wire.inbox import Inbox


async def test_a_slow_reader_of_a_search_gets_the_newest() -> None:
    inbox = Inbox(operation_id=1)
    for offset in range(1, 4):
        await inbox.put(Completing(Completed(offset, ())))
    inbox.end(Completed(4, ()))
    assert await inbox.take() == Completing(Completed(3, ()))
    assert await inbox.take() == Completed(4, ())
