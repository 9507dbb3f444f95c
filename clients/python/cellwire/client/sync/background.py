"""An event loop in a thread of its own, for callers who have none."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from cellwire.client.errors import Cancelled

_Value = TypeVar("_Value")


class Background:
    """Runs coroutines for other threads, until it is closed."""

    def __init__(self) -> None:
        self._open = threading.Event()
        # Reentrant, for a signal handler may come in between.
        self._lock = threading.RLock()
        # A program that ends without closing its client must not wait for it.
        self._thread = threading.Thread(target=self._serve, name="cellwire client", daemon=True)
        self._thread.start()
        self._open.wait()

    def run(self, coroutine: Coroutine[Any, Any, _Value]) -> _Value:
        """Return what the coroutine returns, or raise what it raises.

        A caller who is interrupted cancels it. Raises Cancelled if the loop is closed.
        """
        # Made before anything is started, so that an interruption at any point can cancel it;
        # asyncio.run_coroutine_threadsafe may be interrupted between starting and returning one.
        future: concurrent.futures.Future[_Value] = concurrent.futures.Future()
        try:
            self._send(coroutine, future)
            return future.result()
        except concurrent.futures.CancelledError:
            raise Cancelled("the client is closed") from None
        except BaseException:
            future.cancel()
            raise

    def _send(
        self, coroutine: Coroutine[Any, Any, _Value], future: concurrent.futures.Future[_Value]
    ) -> None:
        """Have the loop's thread start the coroutine; Cancelled if the loop is closed."""
        with self._lock:
            if not self._open.is_set():
                coroutine.close()
                raise Cancelled("the client is closed")
            self._loop.call_soon_threadsafe(self._start, coroutine, future)

    def _start(
        self, coroutine: Coroutine[Any, Any, _Value], future: concurrent.futures.Future[_Value]
    ) -> None:
        """Run the coroutine for a caller who waits for the future, and may cancel it."""
        if future.cancelled():
            coroutine.close()
            return
        task = self._loop.create_task(coroutine)
        task.add_done_callback(partial(_settle, future))

        def cancel(_: object) -> None:
            if future.cancelled():
                self.post(task.cancel)

        future.add_done_callback(cancel)

    def iterate(self, items: AsyncGenerator[_Value, None]) -> Generator[_Value, None, None]:
        """Iterate over what an asynchronous generator yields; leaving the loop closes it."""
        while (item := self.run(_next(items))) is not None:
            try:
                yield item
            except GeneratorExit:
                with suppress(Cancelled):
                    self.run(items.aclose())
                raise

    def post(self, callback: Callable[[], object]) -> None:
        """Call back in the loop, soon, unless it is closed."""
        with self._lock:
            if self._open.is_set():
                self._loop.call_soon_threadsafe(callback)

    def close(self) -> None:
        """Cancel what runs, and end the thread."""
        with self._lock:
            self.post(self._closing.set)
            self._open.clear()
        self._thread.join()

    def _serve(self) -> None:
        asyncio.run(self._until_closed())

    async def _until_closed(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._closing = asyncio.Event()
        self._open.set()
        await self._closing.wait()


def _settle(future: concurrent.futures.Future[_Value], task: asyncio.Task[_Value]) -> None:
    """Give the caller what came of a task; one who has cancelled it wants nothing."""
    error = None if task.cancelled() else task.exception()
    with suppress(concurrent.futures.InvalidStateError):
        if task.cancelled():
            future.cancel()
        elif error is not None:
            future.set_exception(error)
        else:
            future.set_result(task.result())


async def _next(items: AsyncGenerator[_Value, None]) -> _Value | None:
    return await anext(items, None)
