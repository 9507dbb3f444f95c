"""A program compiled by ONNX Runtime, and arrays bound to what it reads and writes.

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
CUDA_MAJOR: str = str(ort.cuda_version or "").partition(".")[0]  # it is built for; "" for none
Array = npt.NDArray[Any]

_CUDA = "CUDAExecutionProvider"
_QUIET, _SILENT = 3, 4  # errors only, not even those
_NO_CAPTURE = -1

# While one thread captures a CUDA graph, no other may allocate, copy or wait on a card, or the
# capture is lost; and there is a thread for each model.
_CARD = threading.RLock()


@contextlib.contextmanager
def _on(device: Device) -> Iterator[None]:
    """Have a card to oneself; the CPU is anybody's. StepFailed for whatever onnxruntime refuses."""
    with contextlib.nullcontext() if device.is_host else _CARD:
        try:
            yield
        # onnxruntime's exceptions have no common base but Exception.
        except Exception as error:
            raise StepFailed(f"the model could not be run: {error}") from error


def has_cuda() -> bool:
    """Whether this build of ONNX Runtime has the CUDA provider; that says nothing of a GPU."""
    return _CUDA in ort.get_available_providers()


def try_cuda(number: int) -> None:
    """Run a program of one operator on a card; ValueError if that is impossible."""
    one = helper.make_tensor_value_info("one", TensorProto.FLOAT, [1])
    two = helper.make_tensor_value_info("two", TensorProto.FLOAT, [1])
    graph = helper.make_graph(
        [helper.make_node("Add", ["one", "one"], ["two"])], "try", [one], [two]
    )
    model = helper.make_model(graph, ir_version=10, opset_imports=[helper.make_opsetid("", 21)])
    ort.set_default_logger_severity(_SILENT)  # it is our error that tells what is wrong
    try:
        compiled = Compiled(model.SerializeToString(), device=Device("cuda", number))
        compiled.session.run(None, {"one": np.ones(1, np.float32)})
    except Exception as error:  # of onnxruntime: as above
        raise ValueError(str(error)) from error
    finally:
        ort.set_default_logger_severity(_QUIET)


def preload_cuda() -> None:
    """Load the CUDA libraries that came with pip packages, if they did."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints what it did not find
        ort.preload_dlls()


class Compiled:
    """A program that is ready to run."""

    def __init__(
        self, serialized: bytes, threads: int = 1, device: Device = CPU, *, captured: bool = False
    ) -> None:
        """Compile it for a device, and so many threads of a CPU; ValueError if that is impossible.

        If it is to be captured as CUDA graphs, all of it must run on the card.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = _QUIET if device.is_host else _SILENT
        if captured:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            with _on(device):
                self.session = ort.InferenceSession(
                    serialized,
                    options,
                    providers=[_provider(device, captured=captured)],
                    enable_fallback=0,  # it would try the CPU instead, and print that
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
        """The execution provider that it really got."""
        return str(self.session.get_providers()[0])

    def next_graph(self) -> int:
        """Return the number of a CUDA graph of its own, for one binding."""
        self._bindings += 1
        return self._bindings if self._captured else _NO_CAPTURE


def _provider(device: Device, *, captured: bool) -> object:
    if device.is_host:
        return "CPUExecutionProvider"
    settings = {
        "device_id": str(device.number),
        "use_tf32": "0",  # ten bits of a factor: too few for any promise of ours
        "enable_cuda_graph": str(int(captured)),
        "arena_extend_strategy": "kSameAsRequested",  # the arenas are ours, and the rest is small
    }
    return _CUDA, settings


class Buffer:
    """An array in a device's memory that stays where it is; on the CPU, `host` is the array."""

    def __init__(self, host: Array, device: Device = CPU) -> None:
        """Begin with a copy of `host`; MemoryError if the device has no room."""
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
        """Where it is, on its device."""
        return int(self._value.data_ptr()) if self._value is not None else self.host.ctypes.data

    def upload(self) -> None:
        """Copy `host` to the device; StepFailed if that cannot be done."""
        if self._value is not None:
            with _on(self.device):
                self._value.update_inplace(self.host)

    def download(self) -> Array:
        """Copy it to `host`, and return that; StepFailed if that cannot be done."""
        if self._value is not None:
            with _on(self.device):
                self.host = self._value.numpy()
        return self.host

    def leave_host(self) -> None:
        """Forget the host's copy, of what is never moved as a whole."""
        if self._value is not None:
            self.host = np.empty((0, *self.shape[1:]), self.element)


class Binding:
    """Arrays that a program reads and writes where they are.

    They must stay alive, and stay where they are, as long as the binding. A program that is
    captured becomes a CUDA graph in a binding's first run, of this size of its arrays; that run
    is more than one in truth, so it must not do anything that counts.

    All methods raise StepFailed if the runtime refuses.
    """

    def __init__(self, compiled: Compiled) -> None:
        self._device = compiled.device
        self._session = compiled.session
        self._binding = compiled.session.io_binding()
        self._of_host: list[tuple[str, Array, tuple[int, ...] | None]] = []
        self._options = ort.RunOptions()
        self._options.add_run_config_entry("gpu_graph_id", str(compiled.next_graph()))

    def move(self, arenas: Mapping[str, Buffer]) -> None:
        """Bind each state's arena as what is read and what is written, to be updated in place."""
        for name, arena in arenas.items():
            self.read(program.ARENA + name, arena)
            self.write(program.NEXT_ARENA + name, arena)

    def read(self, name: str, buffer: Buffer) -> None:
        """Bind what the program reads."""
        with _on(self._device):
            _bind(self._binding.bind_input, name, buffer)

    def write(self, name: str, buffer: Buffer) -> None:
        """Bind what it writes."""
        with _on(self._device):
            _bind(self._binding.bind_output, name, buffer)

    def input(self, name: str, array: Array, shape: tuple[int, ...] | None = None) -> None:
        """Bind an array of the host's, or its beginning as an array of `shape`."""
        if self._device.is_host:
            _bind_host(self._binding.bind_input, name, array, shape)
        else:  # what is the host's goes to a card when it is bound, and not again
            self._of_host.append((name, array, shape))

    def output(self, name: str, array: Array, shape: tuple[int, ...] | None = None) -> None:
        """Likewise, for what the program writes."""
        _bind_host(self._binding.bind_output, name, array, shape)

    def run(self) -> None:
        """Run the program."""
        with _on(self._device):
            for name, array, shape in self._of_host:
                _bind_host(self._binding.bind_input, name, array, shape)
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


def _bind_host(binder: _Binder, name: str, array: Array, shape: tuple[int, ...] | None) -> None:
    shape = array.shape if shape is None else shape
    binder(name, CPU.kind, CPU.number, array.dtype.type, shape, array.ctypes.data)
