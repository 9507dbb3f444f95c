"""Programs compiled by ONNX Runtime, and arrays bound to their inputs and outputs.

The only file that imports onnxruntime.
"""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import TensorProto, helper

from cellwire.server.errors import StepFailed
from cellwire.server.programs import program
from cellwire.server.runtime.device import CPU, Device

VERSION: str = ort.__version__
CUDA_MAJOR: str = str(ort.cuda_version or "").partition(".")[0]  # of this build; "" without CUDA
Array = npt.NDArray[Any]

_CUDA = "CUDAExecutionProvider"
_ERRORS_ONLY, _SILENT = 3, 4  # log severities
_NO_CAPTURE = -1

# While one thread captures a CUDA graph, an allocation, a copy or a wait of another thread spoils
# the capture; and every model has a thread.
_CARD = threading.RLock()


@contextlib.contextmanager
def _on(device: Device) -> Iterator[None]:
    """Lock a card, and turn every error of onnxruntime into StepFailed. The CPU needs no lock."""
    with contextlib.nullcontext() if device.is_host else _CARD:
        try:
            yield
        # onnxruntime's exceptions have no common base but Exception.
        except Exception as error:
            raise StepFailed(f"the model could not be run: {error}") from error


def has_cuda() -> bool:
    """Whether this build of ONNX Runtime has the CUDA provider, on a machine with a GPU or not."""
    return _CUDA in ort.get_available_providers()


def try_cuda(number: int) -> None:
    """Run a program of one operator on a card; ValueError says why it fails."""
    one = helper.make_tensor_value_info("one", TensorProto.FLOAT, [1])
    two = helper.make_tensor_value_info("two", TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("Add", ["one", "one"], ["two"])], "try", [one], [two]
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    ort.set_default_logger_severity(_SILENT)  # the ValueError says it
    try:
        compiled = Compiled(model.SerializeToString(), device=Device("cuda", number))
        compiled.session.run(None, {"one": np.ones(1, np.float32)})
    except Exception as error:  # as above
        raise ValueError(str(error)) from error
    finally:
        ort.set_default_logger_severity(_ERRORS_ONLY)


def preload_cuda() -> None:
    """Load the CUDA libraries of pip packages, where those are installed."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the missing ones
        ort.preload_dlls()


class Compiled:
    """A program that is ready to run."""

    def __init__(
        self, serialized: bytes, threads: int = 1, device: Device = CPU, *, captured: bool = False
    ) -> None:
        """Compile a program for a device; ValueError says why it cannot be.

        `threads` is for the CPU. A program that is `captured` as CUDA graphs must run on the card
        as a whole.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY if device.is_host else _SILENT
        if captured:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            with _on(device):
                self.session = ort.InferenceSession(
                    serialized,
                    options,
                    providers=[_provider(device, captured=captured)],
                    enable_fallback=0,  # to the CPU, with a printed message
                )
        except StepFailed as error:
            raise ValueError(str(error.__cause__)) from error
        if not device.is_host and self.provider != _CUDA:
            raise ValueError("its CUDA provider cannot be loaded")
        self.device = device
        self._captured = captured
        self._bindings = 0

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return str(self.session.get_providers()[0])

    def next_graph(self) -> int:
        """Return the number of a new binding's CUDA graph."""
        self._bindings += 1
        return self._bindings if self._captured else _NO_CAPTURE


def _provider(device: Device, *, captured: bool) -> object:
    if device.is_host:
        return "CPUExecutionProvider"
    settings = {
        "device_id": str(device.number),
        "use_tf32": "0",  # it would round factors to ten bits
        "enable_cuda_graph": str(int(captured)),
        "arena_extend_strategy": "kSameAsRequested",  # all but the arenas is small
    }
    return _CUDA, settings


class Buffer:
    """An array at a fixed address in a device's memory; on the CPU, `host` is that array."""

    def __init__(self, host: Array, device: Device = CPU) -> None:
        """Copy `host` to the device; MemoryError if it has no room."""
        self.host = host
        self.device = device
        self.shape, self.element = host.shape, host.dtype.type
        self._value = None
        if not device.is_host:
            try:
                with _on(device):
                    self._value = ort.OrtValue.ortvalue_from_numpy(host, device.kind, device.number)
            except StepFailed as error:
                raise MemoryError(str(error.__cause__)) from error

    @property
    def address(self) -> int:
        """The address in the device's memory."""
        return int(self._value.data_ptr()) if self._value is not None else self.host.ctypes.data

    def upload(self) -> None:
        """Copy `host` to the device; StepFailed if that fails."""
        if self._value is not None:
            with _on(self.device):
                self._value.update_inplace(self.host)

    def download(self) -> Array:
        """Copy the array to `host` and return that; StepFailed if that fails."""
        if self._value is not None:
            with _on(self.device):
                self.host = self._value.numpy()
        return self.host

    def leave_host(self) -> None:
        """Drop the host's copy, of an array that is never copied as a whole."""
        if self._value is not None:
            self.host = np.empty((0, *self.shape[1:]), self.element)


class Binding:
    """Arrays that a program reads and writes in place.

    The binding keeps its arrays alive; their addresses must not change. A captured program becomes
    a CUDA graph in a binding's first run, for the sizes of its arrays. Capturing executes the
    program several times, so a captured binding's first run may write only the trash slot.

    All methods raise StepFailed if the runtime fails.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._device = compiled.device
        self._session = compiled.session
        self._binding = compiled.session.io_binding()
        self._bound: list[Buffer | Array] = []
        self._host_inputs: list[tuple[str, Array]] = []
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(compiled.next_graph()))

    def bind_arenas(self, arenas: Mapping[str, Buffer]) -> None:
        """Bind each state's arena as input and as output, so that it is updated in place."""
        for name, arena in arenas.items():
            self.read(program.ARENA + name, arena)
            self.write(program.NEXT_ARENA + name, arena)

    def read(self, name: str, buffer: Buffer) -> None:
        """Bind an input to a buffer."""
        self._bound.append(buffer)
        with _on(self._device):
            _bind(self._binding.bind_input, name, buffer)

    def write(self, name: str, buffer: Buffer) -> None:
        """Bind an output to a buffer."""
        self._bound.append(buffer)
        with _on(self._device):
            _bind(self._binding.bind_output, name, buffer)

    def input(self, name: str, array: Array) -> None:
        """Bind an input to an array of the host."""
        self._bound.append(array)
        if self._device.is_host:
            _bind_host(self._binding.bind_input, name, array)
        else:  # binding copies the array to the card, so it is bound again for every run
            self._host_inputs.append((name, array))

    def output(self, name: str, array: Array) -> None:
        """Bind an output to an array of the host."""
        self._bound.append(array)
        _bind_host(self._binding.bind_output, name, array)

    def run(self) -> None:
        """Run the program."""
        with _on(self._device):
            for name, array in self._host_inputs:
                _bind_host(self._binding.bind_input, name, array)
            self._session.run_with_iobinding(self._binding, self._options)


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


def _bind(binder: _Binder, name: str, buffer: Buffer) -> None:
    device = buffer.device
    binder(name, device.kind, device.number, buffer.element, buffer.shape, buffer.address)


def _bind_host(binder: _Binder, name: str, array: Array) -> None:
    binder(name, CPU.kind, CPU.number, array.dtype.type, array.shape, array.ctypes.data)
