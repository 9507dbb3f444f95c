"""The one thread that owns an engine.

Commands come in through the inbox and are carried out between strides; events go out through
`deliver`, answers at once and text every now and then. While no session is runnable the thread
sleeps on the inbox. A loop that has been told to stop takes no more commands, and says so.

The inbox is bounded by its writers: a stream stops reading its client's operations while too many
of them are unanswered (see rpc/session_stream.py).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TypeVar

from cellwire.server.engine.commands import Command
from cellwire.server.engine.engine import Engine
from cellwire.server.engine.event_batcher import EventBatcher
from cellwire.server.engine.step_budget import StepBudget
from cellwire.server.errors import CellwireError
from cellwire.server.session.events import Event

T = TypeVar("T")


class EngineLoop:
    """Runs an engine in a thread of its own."""

    def __init__(
        self,
        engine: Engine,
        deliver: Callable[[EngineLoop, list[Event]], None],
        on_crash: Callable[[BaseException], None],
        name: str,
    ) -> None:
        """`deliver` and `on_crash` are called in the engine's thread and must not block."""
        self._engine = engine
        self._deliver = deliver
        self._on_crash = on_crash
        self._inbox: SimpleQueue[Command | Callable[[Engine], None] | None] = SimpleQueue()
        self._pace, self._search_pace = StepBudget(), StepBudget()
        self._outgoing = EventBatcher()
        self._stopping = False
        self._door = threading.Lock()  # nothing comes into the inbox after the order to stop
        self._thread = threading.Thread(target=self._run, name=f"engine {name}", daemon=True)

    def start(self) -> None:
        """Start the thread."""
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
        with self._door:
            if not self._stopping:
                self._inbox.put(item)
            return not self._stopping

    def stop(self) -> None:
        """End the thread after the commands posted so far, and wait for it."""
        with self._door:
            self._stopping = True
            self._inbox.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._handle_commands():
                self._outgoing.add(self._stride())
                if events := self._outgoing.due(time.perf_counter(), idle=self._engine.idle):
                    self._deliver(self, events)
            self._outgoing.add(self._engine.take_events())
            if events := self._outgoing.due(time.perf_counter(), idle=True):
                self._deliver(self, events)
        # Anything that gets here is a fault of ours; whoever started us must hear of it.
        except BaseException as error:  # noqa: BLE001
            self._on_crash(error)

    def _stride(self) -> list[Event]:
        engine, pace, search_pace = self._engine, self._pace, self._search_pace
        steps, beam_steps, started_s = engine.steps, engine.beam_steps, time.perf_counter()
        events = engine.step(pace.steps, search_pace.steps)
        elapsed_s = time.perf_counter() - started_s
        pace.note(engine.steps - steps, elapsed_s)
        search_pace.note(engine.beam_steps - beam_steps, elapsed_s)
        return events

    def _handle_commands(self) -> bool:
        """Handle what is in the inbox, waiting for it when idle; False when told to stop."""
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
