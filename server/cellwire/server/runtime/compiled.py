"""Programs compiled by ONNX Runtime. The only file that imports onnxruntime."""

from __future__ import annotations

import contextlib
import io
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import TensorProto, helper

from cellwire.model_file.runtime_text import plain
from cellwire.server.errors import StepFailed
from cellwire.server.runtime.device import CPU, Device

VERSION: str = ort.__version__
CUDA_MAJOR: str = str(ort.cuda_version or "").partition(".")[0]  # of this build; "" without CUDA
Array = npt.NDArray[Any]

_CUDA = "CUDAExecutionProvider"
_ERRORS_ONLY, _SILENT = 3, 4  # log severities

# While one thread captures a CUDA graph, an allocation, a copy or a wait of another thread spoils
# the capture; and every model has a thread.
_CARD = threading.RLock()


@contextlib.contextmanager
def on_device(device: Device) -> Iterator[None]:
    """Lock a card, and turn every error of onnxruntime into StepFailed. The CPU needs no lock."""
    with contextlib.nullcontext() if device.is_host else _CARD:
        try:
            yield
        # onnxruntime's exceptions have no common base but Exception.
        except Exception as error:
            raise StepFailed(f"the model could not be run: {plain(str(error))}") from error


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


class RunOptions(NamedTuple):
    """ONNX Runtime's options for the runs of a binding."""

    run: Any  # to the end
    start: Any  # and return, if a captured graph is replayed; other runs go on to their end


class Compiled:
    """A program that is ready to run."""

    def __init__(
        self,
        serialized: bytes,
        threads: int = 1,
        device: Device = CPU,
        *,
        captured: bool = False,
        quiet: bool = False,
    ) -> None:
        """Compile a program for a device; ValueError says why it cannot be.

        `threads` is for the CPU. A program that is `captured` as CUDA graphs must run on the card
        as a whole. A `quiet` one prints nothing: the caller reports what fails.
        """
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        # Threads that wait for the next operator in a loop take all of their cores.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = _SILENT if quiet or not device.is_host else _ERRORS_ONLY
        if captured:
            options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        try:
            with on_device(device):
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
        self._options = [ort.RunOptions()]  # of all runs; of captured ones, one for each binding

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return str(self.session.get_providers()[0])

    def run_options(self) -> RunOptions:
        """Return the options of a new binding: each has another CUDA graph."""
        if not self._captured:
            return RunOptions(self._options[0], self._options[0])
        graph = str(len(self._options))
        options = RunOptions(ort.RunOptions(), ort.RunOptions())
        for each in options:
            each.add_run_config_entry("gpu_graph_id", graph)
        options.start.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._options += options
        return options

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Run on arrays of the host, without a binding; StepFailed."""
        with on_device(self.device):
            arrays: Sequence[Array] = self.session.run(outputs, inputs, self._options[0])
            return arrays

    def abort(self) -> None:
        """End the run in progress, and all later ones, with StepFailed. For any thread."""
        for options in list(self._options):
            options.terminate = True


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


def device_array(host: Array, device: Device) -> Any:  # noqa: ANN401  # onnxruntime has no types
    """Return a copy of `host` in a device's memory; StepFailed if it has no room."""
    with on_device(device):
        return ort.OrtValue.ortvalue_from_numpy(host, device.kind, device.number)
