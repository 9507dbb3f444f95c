"""The event loop in a background thread."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from cellwire.client.sync.background import Background

GUARD_S = 60


def test_a_call_that_is_interrupted_while_it_starts_does_not_go_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    background = Background()
    send = background._loop.call_soon_threadsafe

    def interrupted(*call: Any) -> None:  # noqa: ANN401  # a callback and its arguments
        send(*call)
        monkeypatch.undo()
        raise KeyboardInterrupt

    async def others() -> int:
        for _ in range(3):  # a task that is cancelled ends in the next rounds of the loop
            await asyncio.sleep(0)
        return len(asyncio.all_tasks()) - 1

    alone = background.run(others())
    monkeypatch.setattr(background._loop, "call_soon_threadsafe", interrupted)
    with pytest.raises(KeyboardInterrupt):
        background.run(asyncio.sleep(GUARD_S))
    assert background.run(others()) == alone
    background.close()
