"""Several daemons, each at an address that it keeps when it is started again."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.end_to_end.conftest import Served, served


class Fleet:
    """Daemons that serve the same model, and one more each, which tells them apart."""

    def __init__(self, model: Path, folder: Path, number: int) -> None:
        self._model = model
        self._stacks = [ExitStack() for _ in range(number)]
        self._marks = [folder / f"daemon{n}.onnx" for n in range(number)]
        self._daemons: list[Served] = []
        for n, mark in enumerate(self._marks):
            shutil.copy(model, mark)
            self._daemons.append(self._start(n, "127.0.0.1:0"))

    @property
    def addresses(self) -> list[str]:
        return [daemon.address for daemon in self._daemons]

    def name(self, number: int) -> str:
        """The name of the model that only this daemon serves."""
        return self._marks[number].stem

    def signal(self, number: int, signal: int) -> None:
        self._daemons[number].process.send_signal(signal)

    def restart(self, number: int) -> None:
        """Start a daemon again where it was; kill it first if it runs."""
        self._stacks[number].close()
        self._daemons[number] = self._start(number, self._daemons[number].address)

    def stop(self) -> None:
        for stack in self._stacks:
            stack.close()

    def _start(self, number: int, listen: str) -> Served:
        models = ("--model", str(self._model), "--model", str(self._marks[number]))
        one_thread = ("--threads", "1", "--listen", listen)
        return self._stacks[number].enter_context(served(*models, *one_thread))


@contextmanager
def fleet_of(number: int, model: Path, folder: Path) -> Iterator[Fleet]:
    fleet = Fleet(model, folder, number)
    try:
        yield fleet
    finally:
        fleet.stop()
