"""The thread that owns an engine.

Commands arrive in the inbox and are handled between runs. Events leave through `deliver`. While no
session is runnable, the thread sleeps on the inbox.

The inbox is bounded by those who write to it: a stream stops reading its client while too many of
its operations are unanswered (see rpc/session_stream.py).
"""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

from cellwire.server.engine.commands import Command
from cellwire.server.engine.engine import Engine
from cellwire.server.engine.event_batcher import EventBatcher
from cellwire.server.engine.step_budget import StepBudget
from cellwire.server.errors import CellwireError
from cellwire.server.host.own_thread import OwnThread
from cellwire.server.session.events import Event
from cellwire.server.session.task import RunKind

_log = logging.getLogger(__name__)

T = TypeVar("T")

# A run takes milliseconds.
STOP_LIMIT_S = 5.0


class EngineLoop:
    """Runs an engine in a thread."""

    def __init__(
        self,
        engine: Engine,
        deliver: Callable[[EngineLoop, list[Event]], None],
        on_crash: Callable[[BaseException], None],
        name: str,
        abort: Callable[[], None] = lambda: None,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`deliver` and `on_crash` are called in the engine's thread and must not block.

        `abort` ends the run in progress, and is called by another thread if a run does not end.
        `on_end` gives back what the engine uses. The thread calls it last, after a crash too; for a
        loop that was never started, `stop` does.
        """
        self.name = name
        self._engine = engine
        self._deliver = deliver
        self._on_crash = on_crash
        self._inbox: SimpleQueue[Command | Callable[[Engine], None] | None] = SimpleQueue()
        self._budgets = defaultdict[RunKind, StepBudget](StepBudget)
        self._batcher = EventBatcher()
        self._stopping = False
        self._lock = threading.Lock()  # nothing enters the inbox after the order to stop
        self._abort = abort
        self._on_end = on_end
        self._thread: OwnThread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = OwnThread(f"engine {self.name}", self._run)
        self._thread.start()

    def post(self, command: Command) -> bool:
        """Queue a command for the engine's thread; False if the loop is stopping.

        May be called from any thread.
        """
        return self._put(command)

    def call(self, function: Callable[[Engine], T]) -> Future[T]:
        """Queue a call of `function` for the engine's thread; return its future result.

        The future raises the call's CellwireError, and is cancelled if the loop is stopping. May be
        called from any thread.
        """
        future: Future[T] = Future()

        def run(engine: Engine) -> None:
            if future.set_running_or_notify_cancel():
                try:
                    result = function(engine)
                except CellwireError as error:
                    future.set_exception(error)
                else:
                    future.set_result(result)

        if not self._put(run):
            future.cancel()
        return future

    def _put(self, item: Command | Callable[[Engine], None]) -> bool:
        with self._lock:
            if not self._stopping:
                self._inbox.put(item)
            return not self._stopping

    def begin_to_stop(self) -> None:
        """End the thread after the commands queued so far; do not wait for it."""
        with self._lock:
            self._stopping = True
            self._inbox.put(None)

    def stop(self, limit_s: float = STOP_LIMIT_S) -> bool:
        """End the thread after the commands queued so far, and wait for it.

        A run that does not end within the limit is aborted. Returns whether the thread has ended;
        one that has not even then is left behind.
        """
        self.begin_to_stop()
        thread = self._thread
        if thread is None:
            self._on_end()
            return True
        thread.join(limit_s)
        if thread.is_alive():
            _log.warning("a step of %s does not end; it is aborted", self.name)
            self._abort()
            thread.join(limit_s)
        return not thread.is_alive()

    def _run(self) -> None:
        for part in (self._work, self._on_end):
            try:
                part()
            # An exception that gets here is a fault of the daemon, which must hear of it: before
            # what may take long, for want of the card's lock.
            except BaseException as error:  # noqa: BLE001
                self._on_crash(error)

    def _work(self) -> None:
        """Handle commands and make runs, until the order to stop."""
        while self._handle_commands():
            self._batcher.add(self._step())
            self._send_due(idle=self._engine.idle)
        self._engine.finish_run()
        self._batcher.add(self._engine.take_events())
        self._send_due(idle=True)

    def _step(self) -> list[Event]:
        # Each kind of run has its budget: a quick one must not lengthen a slow one. A step's time
        # counts for the run that it commits, even if it has started another: it has waited for the
        # end of that one, and no time counts twice.
        engine, start_s = self._engine, time.perf_counter()
        events = engine.step(self._budgets[engine.next_kind].steps)
        if engine.committed is not None:
            kind, steps = engine.committed
            self._budgets[kind].record(steps, time.perf_counter() - start_s)
        return events

    def _send_due(self, *, idle: bool) -> None:
        if events := self._batcher.due(time.perf_counter(), idle=idle):
            self._deliver(self, events)

    def _handle_commands(self) -> bool:
        """Handle what is in the inbox, waiting for it when idle; False at the order to stop."""
        try:
            command = self._inbox.get(block=self._engine.idle)
            while command is not None:
                if callable(command):
                    command(self._engine)
                else:
                    self._engine.handle(command)
                command = self._inbox.get_nowait()
        except Empty:
            return True
        return False
