"""An event loop in a background thread."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextlib import suppress
from functools import partial
from typing import Any, TypeVar

from cellwire.client.errors import Cancelled
from cellwire.client.wire.own_process import OwnProcess, forked

_Value = TypeVar("_Value")


class Background:
    """Runs coroutines for callers in other threads, until it is closed."""

    def __init__(self) -> None:
        self._process = OwnProcess()
        self._open = threading.Event()
        # Reentrant, since a signal handler may run in between.
        self._lock = threading.RLock()
        # A program that ends without closing its client must not wait for this thread.
        self._thread = threading.Thread(target=self._serve, name="cellwire client", daemon=True)
        self._thread.start()
        self._open.wait()

    @property
    def open(self) -> bool:
        """Whether it runs coroutines: it has not been closed."""
        return self._open.is_set()

    @property
    def in_other_process(self) -> bool:
        """Whether this process was forked from the one that runs the loop."""
        return self._process.left

    def run(self, coroutine: Coroutine[Any, Any, _Value]) -> _Value:
        """Return what the coroutine returns, or raise what it raises.

        An interrupted caller cancels it. Raises Cancelled if the loop is closed, and
        FailedPrecondition in a forked process.
        """
        # Created before the coroutine starts, so that an interruption at any point can cancel it;
        # asyncio.run_coroutine_threadsafe may be interrupted between the start and the return.
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
        """Start the coroutine in the loop's thread; raises Cancelled if the loop is closed."""
        if self._process.left:  # a forked process has no thread that would answer
            coroutine.close()
            raise forked()
        with self._lock:
            if not self._open.is_set():
                coroutine.close()
                raise Cancelled("the client is closed")
            self._loop.call_soon_threadsafe(self._start, coroutine, future)

    def _start(
        self, coroutine: Coroutine[Any, Any, _Value], future: concurrent.futures.Future[_Value]
    ) -> None:
        """Run the coroutine for a caller that waits for the future and may cancel it."""
        if future.cancelled():
            coroutine.close()
            return
        task = self._loop.create_task(coroutine)
        task.add_done_callback(partial(_copy_result, future))

        def cancel(_: object) -> None:
            if future.cancelled():
                self.post(task.cancel)

        future.add_done_callback(cancel)

    def iterate(self, items: AsyncGenerator[_Value, None]) -> Generator[_Value, None, None]:
        """Iterate over an asynchronous generator; leaving the loop closes the generator."""
        while (item := self.run(_next(items))) is not None:
            try:
                yield item
            except GeneratorExit:
                if not self._process.left:
                    with suppress(Cancelled):
                        self.run(items.aclose())
                raise

    def post(self, callback: Callable[[], object]) -> None:
        """Schedule a callback in the loop, unless the loop is closed or in another process."""
        if self._process.left:
            return
        with self._lock:
            if self._open.is_set():
                self._loop.call_soon_threadsafe(callback)

    def close(self) -> None:
        """Cancel what still runs, and end the thread; nothing in a forked process."""
        if self._process.left:
            return
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


def _copy_result(future: concurrent.futures.Future[_Value], task: asyncio.Task[_Value]) -> None:
    """Copy a task's result or error to the caller's future, unless the caller has cancelled it."""
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
