"""The lock under which a card is used, and under which what lies on it is dropped.

While one thread captures a CUDA graph, an allocation, a copy or a wait of another thread spoils the
capture; and every model has a thread.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any, Generic, TypeVar

from cellwire.model_file.runtime_text import plain
from cellwire.server.errors import StepFailed
from cellwire.server.runtime.device import Device

T = TypeVar("T")

_CARD = threading.RLock()


@contextlib.contextmanager
def on_device(device: Device) -> Iterator[None]:
    """Lock a card, and turn every error of onnxruntime into StepFailed. The CPU needs no lock."""
    with contextlib.nullcontext() if device.is_host else _CARD:
        try:
            yield
        except StepFailed:
            raise
        # onnxruntime's exceptions have no common base but Exception.
        except Exception as error:
            traceback.clear_frames(error.__traceback__)  # they hold what failed, on the card
            raise StepFailed(f"the model could not be run: {plain(str(error))}") from error


class Held(Generic[T]):
    """An object of onnxruntime, dropped under the card's lock.

    Freeing memory and graphs is a use of the card, so garbage must wait for the lock, too.
    """

    __slots__ = ("_device", "_owner", "_value")

    def __init__(self, value: T, device: Device, owner: Held[Any] | None = None) -> None:
        """`owner` holds what the object lies in, and is closed with it."""
        self._device = device
        self._value: T | None = value
        self._owner = owner

    @property
    def value(self) -> T:
        """The object; StepFailed if it was dropped."""
        if self._value is None:
            raise StepFailed("the model could not be run: it was unloaded")
        return self._value

    def close(self) -> None:
        """Drop the object. Harmless if that was done."""
        if self._value is not None:
            with on_device(self._device):
                self._value = None
        if self._owner is not None:
            self._owner.close()

    def __del__(self) -> None:
        # A daemon's thread may have ended with the lock.
        if not sys.is_finalizing():
            self.close()
