"""A program compiled by ONNX Runtime, and arrays bound to what it reads and writes.

The only file that imports onnxruntime.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy.typing as npt
import onnxruntime as ort

from cellwire.server import program
from cellwire.server.errors import StepFailed

VERSION: str = ort.__version__
Array = npt.NDArray[Any]

_QUIET = 3  # errors only


class Compiled:
    """A program that is ready to run."""

    def __init__(self, serialized: bytes, threads: int) -> None:
        """Compile it for so many threads on the CPU provider; ValueError if that is impossible."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET
        try:
            self.session = ort.InferenceSession(
                serialized, options, providers=["CPUExecutionProvider"]
            )
        # onnxruntime's exceptions have no common base but Exception.
        except Exception as error:
            raise ValueError(str(error)) from error
        self.inputs = frozenset(value.name for value in self.session.get_inputs())

    @property
    def provider(self) -> str:
        """The execution provider that it really got."""
        return str(self.session.get_providers()[0])


class Binding:
    """Arrays that a program reads and writes where they are.

    They must stay alive, and stay where they are, as long as the binding.
    """

    def __init__(self, compiled: Compiled, arenas: Mapping[str, Array]) -> None:
        """Bind each state's arena as what is read and what is written, to be updated in place."""
        self._session = compiled.session
        self._binding = compiled.session.io_binding()
        for name, arena in arenas.items():
            self.input(program.ARENA + name, arena)
            self.output(program.NEXT_ARENA + name, arena)

    def input(self, name: str, array: Array, shape: tuple[int, ...] | None = None) -> None:
        """Bind an array, or its beginning as an array of `shape`."""
        _bind(self._binding.bind_input, name, array, shape)

    def output(self, name: str, array: Array, shape: tuple[int, ...] | None = None) -> None:
        """Likewise, for what the program writes."""
        _bind(self._binding.bind_output, name, array, shape)

    def run(self) -> None:
        """Run the program; StepFailed if the runtime refuses."""
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # as above
            raise StepFailed(f"the model could not be run: {error}") from error


class _Binder(Protocol):
    def __call__(
        self,
        name: str,
        device_type: str,
        device_id: int,
        element_type: object,
        shape: tuple[int, ...],
        buffer_ptr: int,
    ) -> None: ...


def _bind(binder: _Binder, name: str, array: Array, shape: tuple[int, ...] | None) -> None:
    shape = array.shape if shape is None else shape
    binder(name, "cpu", 0, array.dtype.type, shape, array.ctypes.data)
