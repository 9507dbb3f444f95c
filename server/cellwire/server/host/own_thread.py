"""Threads for work that may never end: reading a file, compiling a model, ending an engine.

The event loop's own pool is for what is short. It has few threads, and the process waits for each
of them when it ends; a file that hangs would take one for good.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from functools import partial
from typing import TypeVar

T = TypeVar("T")


class OwnThread(threading.Thread):
    """A thread that the process does not wait for."""

    def __init__(self, name: str, run: Callable[[], object]) -> None:
        super().__init__(name=name, target=run, daemon=True)


def own_threads() -> frozenset[threading.Thread]:
    """Return the threads of this kind that there are now."""
    return frozenset(t for t in threading.enumerate() if isinstance(t, OwnThread))


def threads_left(
    wait_s: float = 0.0, *, earlier: frozenset[threading.Thread] = frozenset()
) -> list[str]:
    """Return the names of the threads that have not ended, after a moment's wait for each.

    A thread whose call has returned may still be there. Those of `earlier` do not count.
    """
    threads = own_threads() - earlier
    for thread in threads:
        thread.join(wait_s)
    return sorted(thread.name for thread in threads if thread.is_alive())


async def in_own_thread(
    name: str, function: Callable[[], T], drop: Callable[[T], object] = lambda _: None
) -> T:
    """Call `function` in a new thread, and return its result or raise its error.

    If the caller is cancelled meanwhile, `drop` is called with the result, in a thread as well.
    """
    future: Future[T] = Future()
    OwnThread(name, partial(_call, future, function, drop)).start()
    try:
        return await asyncio.wrap_future(future)
    except asyncio.CancelledError:
        if not future.cancel():  # the result is there, or is being set
            OwnThread(name, partial(_drop, future, drop)).start()
        raise
    finally:
        # An error knows this frame by its traceback; with the future here it would be a cycle.
        del future, function, drop


def _call(future: Future[T], function: Callable[[], T], drop: Callable[[T], object]) -> None:
    try:
        result = function()
    # Every error is the caller's.
    except BaseException as error:  # noqa: BLE001
        if future.set_running_or_notify_cancel():
            future.set_exception(error)
    else:
        if future.set_running_or_notify_cancel():
            future.set_result(result)
        else:
            drop(result)
    finally:
        del future, function, drop  # as above


def _drop(future: Future[T], drop: Callable[[T], object]) -> None:
    if future.exception() is None:
        drop(future.result())
