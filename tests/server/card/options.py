"""Options of sessions, which remember the weights that they were given."""

from __future__ import annotations

from typing import Any

import onnxruntime

Ort = Any
"""An object of onnxruntime's, which has no types."""


class SessionOptions(onnxruntime.SessionOptions):  # type: ignore[misc]  # it has no types
    """onnxruntime's own; weights in the card's memory are for sessions on the card only."""

    def __init__(self) -> None:
        super().__init__()
        self.given: dict[str, Ort] = {}

    def add_initializer(self, name: str, value: Ort) -> None:
        self.given[name] = value
        if isinstance(value, onnxruntime.OrtValue):
            super().add_initializer(name, value)


def entry(options: Ort, key: str, default: str = "") -> str:
    """Return an entry of a session's or a run's options."""
    if options is None:
        return default
    is_session = isinstance(options, onnxruntime.SessionOptions)
    read = options.get_session_config_entry if is_session else options.get_run_config_entry
    try:
        return str(read(key))
    except RuntimeError:  # there is none
        return default
