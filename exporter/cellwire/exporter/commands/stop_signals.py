"""Ctrl-C and the other signals that ask a training to stop."""

from __future__ import annotations

import os
import signal
import threading
from contextlib import suppress
from types import FrameType, TracebackType
from typing import Self

_STDERR = 2
# Not on every platform: SIGHUP, which a terminal sends when it is closed.
_SIGNALS = [
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
]
_NOTICE = b"\nstopping after this step, and saving; Ctrl-C again stops at once, without saving\n"


class StopSignals:
    """Notes the first signal to stop; the second ends the process at once, whatever it is doing.

    A signal that the process was started to ignore stays ignored.
    """

    def __init__(self) -> None:
        self.received: signal.Signals | None = None
        self._previous: dict[signal.Signals, signal.Handlers | object] = {}

    def __enter__(self) -> Self:
        if threading.current_thread() is not threading.main_thread():
            return self
        for number in _SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._previous[number] = signal.signal(number, self._receive)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._previous.clear()

    def is_received(self) -> bool:
        """Whether a signal has come."""
        return self.received is not None

    @property
    def exit_status(self) -> int:
        """The status of a process that a signal has ended, as shells give it."""
        return 128 + (self.received or signal.SIGINT)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.received = signal.Signals(number)
        for handled in self._previous:
            signal.signal(handled, signal.SIG_DFL)
        with suppress(OSError):  # a terminal that is gone; print() must not be called in a handler
            os.write(_STDERR, _NOTICE)
