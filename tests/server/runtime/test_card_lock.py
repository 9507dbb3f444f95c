"""What lies on a card is used and dropped by one thread at a time."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import weakref

import numpy as np
import pytest

from cellwire.server.errors import StepFailed
from cellwire.server.runtime.card_lock import _CARD, Held, on_device
from cellwire.server.runtime.device import Device

CUDA = Device("cuda")


def on_card() -> tuple[object, list[bool]]:
    """Something on the card, and whether the lock was held when it went.

    Like objects of ONNX Runtime, it goes when nothing holds it, and not when it is found to be
    garbage: Python's collector does not look at arrays.
    """
    value = np.zeros(1)
    gone: list[bool] = []
    weakref.finalize(value, lambda: gone.append(_CARD._is_owned()))  # type: ignore[attr-defined]
    return value, gone


def test_what_is_held_goes_under_the_lock() -> None:
    value, gone = on_card()
    held = Held(value, CUDA)
    assert held.value is value
    del value
    assert gone == []
    held.close()
    held.close()
    assert gone == [True]
    with pytest.raises(StepFailed, match="it was unloaded"):
        _ = held.value


def test_so_does_garbage() -> None:
    value, gone = on_card()
    held = Held(value, CUDA)
    del value, held
    assert gone == [True]
    value, gone = on_card()
    circle: list[object] = [Held(value, CUDA)]
    circle.append(circle)
    del value, circle
    assert gone == []
    gc.collect()
    assert gone == [True]


def test_so_does_what_failed() -> None:
    """A session that cannot be made is held by the frames of the error that says so."""

    def fail() -> None:
        half_made, gone = on_card()
        made.append(gone)
        raise RuntimeError(f"no room for {half_made}")

    made: list[list[bool]] = []
    with pytest.raises(StepFailed, match="no room") as failed, on_device(CUDA):
        fail()
    assert made == [[True]]
    assert isinstance(failed.value.__cause__, RuntimeError)


def test_garbage_waits_for_the_thread_that_uses_the_card() -> None:
    used, go_on = threading.Event(), threading.Event()
    order: list[str] = []

    def use() -> None:
        with on_device(CUDA):
            used.set()
            go_on.wait(30)
            order.append("used")

    value, _ = on_card()
    weakref.finalize(value, order.append, "gone")
    held = Held(value, CUDA)
    del value
    threads = [threading.Thread(target=use), threading.Thread(target=held.close)]
    threads[0].start()
    used.wait(30)
    threads[1].start()
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert order == ["used", "gone"]


def test_a_process_ends_while_a_thread_uses_the_card() -> None:
    """A run that never ends is left behind, with the lock."""
    code = """
import threading
from cellwire.server.runtime.card_lock import Held, on_device
from cellwire.server.runtime.device import Device
held, used = Held(object(), Device("cuda")), threading.Event()
def use():
    with on_device(Device("cuda")):
        used.set()
        threading.Event().wait()
threading.Thread(target=use, daemon=True).start()
used.wait()
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60, check=False).returncode == 0
