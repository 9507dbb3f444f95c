"""Programs compiled by ONNX Runtime. The only file that imports onnxruntime."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnx import TensorProto, helper

from cellwire.server.errors import StepFailed
from cellwire.server.runtime.card_lock import Held, on_device
from cellwire.server.runtime.device import CPU, Device

VERSION: str = ort.__version__
CUDA_MAJOR: str = str(ort.cuda_version or "").partition(".")[0]  # of this build; "" without CUDA
Array = npt.NDArray[Any]
Constant = Held[Any]
"""A tensor in a device's memory, for all programs that are given it."""

_CUDA = "CUDAExecutionProvider"
_ERRORS_ONLY, _SILENT = 3, 4  # log severities

# ONNX Runtime takes a tensor without data for one in a file, and requires that the file exists. Its
# optimizer reads values from there even if a session was given others: so they are said to be far
# behind the file's end, and a program whose constants are read is refused, not computed wrongly.
_FILE = Path(__file__)
_NOWHERE = 2**40


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
        compiled.run(["two"], {"one": np.ones(1, np.float32)})
    except StepFailed as error:
        raise ValueError(str(error.__cause__)) from error
    finally:
        ort.set_default_logger_severity(_ERRORS_ONLY)


def preload_cuda(folders: Iterable[Path]) -> None:
    """Load the CUDA libraries of some folders, and those beside onnxruntime."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the missing ones
        for folder in folders:
            ort.preload_dlls(directory=str(folder))
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
        constants: Mapping[str, Constant] | None = None,
        captured: bool = False,
        quiet: bool = False,
    ) -> None:
        """Compile a program for a device; ValueError says why it cannot be.

        `constants` are the values of its tensors without data. `threads` is for the CPU. A program
        that is `captured` as CUDA graphs must run on the card as a whole. Runs of a `quiet` one
        print nothing: the caller reports what fails.
        """
        options = _session_options(threads if device.is_host else 1)
        try:
            with on_device(device):
                for name, value in (constants or {}).items():
                    options.add_initializer(name, value.value)
                provider = _provider(device, captured=captured)
                # The fallback would be to the CPU, with a printed message.
                self._session = Held(
                    ort.InferenceSession(
                        serialized, options, providers=[provider], enable_fallback=0
                    ),
                    device,
                )
        except StepFailed as error:
            raise ValueError(str(error.__cause__)) from error
        if not device.is_host and self.provider != _CUDA:
            raise ValueError("its CUDA provider cannot be loaded")
        self.device = device
        self._captured = captured
        self._severity = _SILENT if quiet or not device.is_host else _ERRORS_ONLY
        self._options = [self._new_options()]  # of all runs; of captured ones, one for each binding

    @property
    def session(self) -> Any:  # noqa: ANN401  # onnxruntime has no types
        """ONNX Runtime's session; StepFailed after close."""
        return self._session.value

    @property
    def provider(self) -> str:
        """The execution provider in use."""
        return str(self.session.get_providers()[0])

    def run_options(self) -> RunOptions:
        """Return the options of a new binding: each has another CUDA graph."""
        if not self._captured:
            return RunOptions(self._options[0], self._options[0])
        graph = str(len(self._options))
        options = RunOptions(self._new_options(), self._new_options())
        for each in options:
            each.add_run_config_entry("gpu_graph_id", graph)
        options.start.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._options += options
        return options

    def _new_options(self) -> Any:  # noqa: ANN401  # as above
        options = ort.RunOptions()
        options.log_severity_level = self._severity
        return options

    def run(self, outputs: Sequence[str], inputs: Mapping[str, Array]) -> Sequence[Array]:
        """Run on arrays of the host, without a binding; StepFailed."""
        session = self.session
        with on_device(self.device):
            arrays: Sequence[Array] = session.run(outputs, inputs, self._options[0])
            return arrays

    def abort(self) -> None:
        """End the run in progress, and all later ones, with StepFailed. For any thread."""
        for options in list(self._options):
            options.terminate = True

    def close(self) -> None:
        """Give back the session and all that it holds, after its bindings are closed."""
        self._session.close()


def _session_options(threads: int) -> Any:  # noqa: ANN401  # as above
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that wait for the next operator in a loop take all of their cores.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry(
        "session.model_external_initializers_file_folder_path", str(_FILE.parent)
    )
    options.log_severity_level = _SILENT  # the error that is raised says it
    return options


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


def constant(values: Array) -> Constant:
    """Return an array of the host as a constant; it must be writable, as DLPack demands."""
    return Held(_lent(values), CPU)


def constant_in(value: Held[Any], device: Device) -> Constant:
    """Return a value in a device's memory as a constant, which owns it; StepFailed."""
    lender = value.value
    with on_device(device):
        return Held(_lent(lender), device, value)


def _lent(lender: object) -> Any:  # noqa: ANN401  # as above
    # A session takes no value that owns its memory; one that came through DLPack does not.
    return ort.OrtValue.from_dlpack(lender)


def without_data(tensor: TensorProto) -> TensorProto:
    """Return a program's tensor whose values are given to the session as a constant."""
    bare = TensorProto(
        name=tensor.name,
        dims=tensor.dims,
        data_type=tensor.data_type,
        data_location=TensorProto.EXTERNAL,
    )
    bare.external_data.add(key="location", value=_FILE.name)
    bare.external_data.add(key="offset", value=str(_NOWHERE))
    return bare
