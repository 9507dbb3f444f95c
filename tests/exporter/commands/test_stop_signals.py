"""Ctrl-C and other signals: the first is noted, the second ends the process at once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest

from cellwire.exporter.commands.stop_signals import StopSignals

SIGNALS = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]

# It never looks whether it is asked to stop, as in a step that takes a day.
BUSY = """
import signal
from cellwire.exporter.commands.stop_signals import StopSignals
signal.signal(signal.SIGHUP, signal.SIG_DFL)  # nohup has the tests' children ignore it
with StopSignals():
    print("ready", flush=True)
    while True:
        pass
"""


@pytest.fixture(autouse=True)
def _notices_go_nowhere(capfd: pytest.CaptureFixture[str]) -> Iterator[None]:
    yield
    capfd.readouterr()


@pytest.fixture(autouse=True)
def _nothing_is_ignored() -> Iterator[None]:
    """Take back what nohup does, which lets SIGHUP be ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", SIGNALS)
def test_the_first_signal_is_noted(
    number: signal.Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(each) for each in SIGNALS]
    with StopSignals() as signals:
        assert not signals.is_received()
        os.kill(os.getpid(), number)
        assert signals.is_received()
        assert signals.exit_status == 128 + number
        assert [signal.getsignal(each) for each in SIGNALS] == [signal.SIG_DFL] * 3
    assert [signal.getsignal(each) for each in SIGNALS] == before
    assert "Ctrl-C again stops at once" in capfd.readouterr().err


def test_what_was_ignored_stays_ignored() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as by nohup
    try:
        with StopSignals() as signals:
            os.kill(os.getpid(), signal.SIGHUP)
            assert not signals.is_received()
    finally:
        signal.signal(signal.SIGHUP, before)


def test_other_threads_handle_no_signals() -> None:
    before = signal.getsignal(signal.SIGINT)
    seen = []

    def enter() -> None:
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert seen == [before]


@pytest.mark.parametrize("second", SIGNALS)
def test_the_second_signal_ends_the_process_at_once(second: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", BUSY], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.readline() == "\n"
        assert "stopping after this step" in process.stderr.readline()
        process.send_signal(second)
        try:
            assert process.wait(30) == -second
        finally:
            process.kill()
