"""Work that may never end has a thread of its own."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

import pytest

from cellwire.server.host.own_thread import in_own_thread, own_threads, threads_left

GUARD_S = 30


async def test_a_result_and_an_error_come_back() -> None:
    assert await in_own_thread("a sum", lambda: 1 + 1) == 2

    def fail() -> None:
        raise ValueError("a fault")

    with pytest.raises(ValueError, match="a fault"):
        await in_own_thread("a fault", fail)


async def test_a_thread_that_does_not_end_is_known_and_can_be_left() -> None:
    go_on = threading.Event()
    task = asyncio.ensure_future(in_own_thread("a long one", lambda: go_on.wait(GUARD_S)))
    while "a long one" not in threads_left():  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert "a long one" in threads_left()
    go_on.set()


@pytest.mark.parametrize("fails", [False, True])
async def test_what_nobody_waits_for_any_more_is_dropped(fails: bool) -> None:  # noqa: FBT001
    started, go_on = threading.Event(), threading.Event()
    dropped: list[int] = []
    earlier = own_threads()

    def work() -> int:
        started.set()
        go_on.wait(GUARD_S)
        if fails:
            raise ValueError("a fault")
        return 3

    task = asyncio.ensure_future(in_own_thread("a dropped one", work, dropped.append))
    while not started.is_set():  # noqa: ASYNC110
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    go_on.set()
    assert not threads_left(GUARD_S, earlier=earlier)
    assert dropped == ([] if fails else [3])


@pytest.mark.parametrize("fails", [False, True])
async def test_what_came_just_before_the_cancellation_is_dropped(fails: bool) -> None:  # noqa: FBT001
    dropped: list[int] = []
    earlier = own_threads()

    def work() -> int:
        if fails:
            raise ValueError("a fault")
        return 3

    task = asyncio.ensure_future(in_own_thread("an early one", work, dropped.append))
    await asyncio.sleep(0)
    assert not threads_left(
        GUARD_S, earlier=earlier
    )  # it has ended, and the event loop has not heard of it
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not threads_left(GUARD_S, earlier=earlier)
    assert dropped == ([] if fails else [3])


async def test_nothing_of_a_failed_call_stays_in_memory() -> None:
    class Payload(bytearray):
        """Bytes that can be watched."""

    payload = Payload(1000)
    watched = weakref.ref(payload)

    def fail(kept: Payload) -> None:
        raise ValueError(len(kept))

    async def call(kept: Payload) -> None:
        await in_own_thread("a fault", lambda: fail(kept))

    gc.disable()
    try:
        with pytest.raises(ValueError, match="1000") as caught:
            await call(payload)
        caught.value.__traceback__ = None
        del caught, payload
        async with asyncio.timeout(GUARD_S):
            while watched() is not None:  # noqa: ASYNC110  # until the thread has ended
                await asyncio.sleep(0)
    finally:
        gc.enable()
