"""Sessions on the card: programs that are run, captured and replayed there."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import onnx
from tests.server.card.card import Card
from tests.server.card.memory import Allocator, Array, Block, garbage
from tests.server.card.native_binding import Bound, NativeBinding
from tests.server.card.native_value import NativeValue
from tests.server.card.options import Ort, SessionOptions, entry
from tests.server.card.placement import place
from tests.server.card.program import Program, initializers

_PROVIDERS = ["CUDAExecutionProvider", "CPUExecutionProvider"]
_PLAIN_RUNS = 2  # before a graph is captured, in the same call
_NO_GRAPH = "-1"


@dataclass(frozen=True)
class _Run:
    """What a run reads and writes; in a graph, for ever."""

    inputs: Mapping[str, Bound]
    outputs: Mapping[str, Bound]

    @property
    def updated(self) -> list[Array]:
        """The inputs that are also outputs."""
        blocks = {id(bound.block) for bound in self.outputs.values() if bound.block}
        return [bound.array for bound in self.inputs.values() if id(bound.block) in blocks]


class NativeSession:
    """A program on the card."""

    card: ClassVar[Card]

    def __init__(self, options: SessionOptions, serialized: bytes, *_: object) -> None:
        self.session_options = options
        self.serialized_bytes = len(serialized)
        self._model = onnx.load_model_from_string(serialized)
        self.allocator = Allocator(self.card.memory, doubles=False)
        self.weights: dict[str, Block] = {}
        self._graphs: dict[tuple[int, str], _Run] = {}  # by the thread that captured it, and id
        self._started: list[_Run] = []
        self.runs = 0  # executions of the program

    def initialize_session(
        self, _names: Sequence[str], settings: Sequence[dict[str, str]], *_: object
    ) -> None:
        self.card.use("a session is made")
        self._settings = settings[0]
        self.captured = self._settings.get("enable_cuda_graph") == "1"
        self.threads: int = self.session_options.intra_op_num_threads
        self.placement = place(self._model)
        self._refuse()
        self.program = Program(self._model, self._place_weights())
        del self._model
        self.inputs_meta = [SimpleNamespace(name=n, type="tensor") for n in self.program.inputs]
        self.outputs_meta = [SimpleNamespace(name=n, type="tensor") for n in self.program.outputs]
        self.overridable_initializers = self.input_meminfos = self.output_meminfos = ()
        self.input_epdevices = self.model_meta = None
        self.card.open_session(self)

    def _refuse(self) -> None:
        """Refuse a program as ONNX Runtime does."""
        nodes = self.placement.host_nodes
        if nodes and entry(self.session_options, "session.disable_cpu_ep_fallback") == "1":
            raise RuntimeError(
                "This session contains graph nodes that are assigned to the default CPU EP, but "
                f"fallback to CPU EP has been explicitly disabled by the user: {nodes}"
            )
        if self.captured and not self.placement.capturable:
            raise RuntimeError(
                "This session cannot use the graph capture feature as requested by the user as all "
                "compute graph nodes have not been partitioned to the CUDAExecutionProvider: "
                f"{self.placement}"
            )

    def _place_weights(self) -> dict[str, Array]:
        """Return all initializers, each in the session's memory or in that given for it."""
        for name, values in initializers(self._model).items():
            given = self.session_options.given.get(name)
            native = getattr(given, "_ortvalue", None)
            if isinstance(native, NativeValue):
                self.weights[name] = native.block
                continue
            array = values if given is None else given.numpy()
            if array is None:
                raise RuntimeError(f"the values of {name} are nowhere")
            block = self.card.memory.allocate(array.shape, array.dtype, self.allocator)
            block.array[...] = array
            self.weights[name] = block
        self._check_locations()
        return {name: block.array for name, block in self.weights.items()}

    def _check_locations(self) -> None:
        """Refuse values that are said to lie in a file that is not there, given or not."""
        folder = entry(self.session_options, "session.model_external_initializers_file_folder_path")
        for tensor in self._model.graph.initializer:
            for item in tensor.external_data:
                if item.key == "location" and not (Path(folder) / item.value).is_file():
                    raise RuntimeError(f"there is no {item.value} in {folder!r}")

    @property
    def graph_count(self) -> int:
        """How many graphs were captured; none is ever given back before the session ends."""
        return len(self._graphs)

    def get_providers(self) -> list[str]:
        return _PROVIDERS

    def get_provider_options(self) -> dict[str, dict[str, str]]:
        return {_PROVIDERS[0]: self._settings}

    def get_profiling_start_time_ns(self) -> int:
        return 0

    def is_webgpu_graph_capture_enabled(self) -> bool:
        return False

    def create_ortvalue_from_shape_and_type(
        self, shape: Sequence[int], element: type[np.generic], _device: object
    ) -> NativeValue:
        self.card.use("memory is allocated")
        return self.card.value(self.card.memory.allocate(tuple(shape), element, self.allocator))

    def run(
        self,
        names: Sequence[str],
        feed: Mapping[str, Array],
        options: Ort = None,
    ) -> list[Array]:
        """Run on arrays of the host."""
        self._begin(options)
        for name, array in feed.items():
            self.program.check_input(name, array)
        self.runs += 1
        results = self.program.run(feed, [])
        return [np.asarray(results[name]) for name in names]

    def run_with_iobinding(
        self,
        binding: NativeBinding,
        options: Ort = None,
    ) -> None:
        """Run on what is bound, or replay the graph of what was bound when it was captured."""
        self._begin(options)
        run = _Run(dict(binding.inputs), dict(binding.outputs))
        graph = entry(options, "gpu_graph_id", "0")
        if self.captured and graph != _NO_GRAPH:
            run = self._graph((threading.get_ident(), graph), run)
        if entry(options, "disable_synchronize_execution_providers") == "1":
            self._start(run)
        else:
            self._execute(run)

    def _begin(self, options: Ort) -> None:
        self.card.use("a program is run")
        if options is not None and options.terminate:
            raise RuntimeError("Exiting due to terminate flag being set to true.")
        self.finish()  # of one stream, runs are carried out in their order

    def _graph(self, key: tuple[int, str], run: _Run) -> _Run:
        """Return the run that was captured, in this thread; or capture this one."""
        if key not in self._graphs:
            in_host = [n for n, b in run.inputs.items() if b.copied or b.block is None]
            in_host += [name for name, bound in run.outputs.items() if bound.block is None]
            if in_host:
                self.card.fault(f"a graph would not read or write the host's memory: {in_host}")
            with self.card.capture():
                for _ in range(_PLAIN_RUNS):
                    self._execute(run)
            self._graphs[key] = run
        return self._graphs[key]

    def _start(self, run: _Run) -> None:
        """Put a run off until it is waited for; its outputs are garbage until then."""
        updated = {id(bound.block) for bound in run.inputs.values() if bound.block}
        for bound in run.outputs.values():
            if id(bound.block) not in updated:
                bound.array[...] = garbage(bound.array.shape, bound.array.dtype)
        self._started.append(run)

    def finish(self) -> None:
        """Carry out the runs that were started."""
        while self._started:
            self._execute(self._started.pop(0))

    def _execute(self, run: _Run) -> None:
        missing = self.program.inputs.keys() - run.inputs.keys()
        if missing:
            raise ValueError(f"Missing Input: {sorted(missing)}")
        for bound in (*run.inputs.values(), *run.outputs.values()):
            bound.check()
        self.runs += 1
        feed = {name: bound.array for name, bound in run.inputs.items()}
        results = self.program.run(feed, run.updated)
        for name, bound in run.outputs.items():
            result = np.asarray(results[name])
            if result.shape != bound.array.shape or result.dtype != bound.array.dtype:
                raise RuntimeError(
                    f"{name} has {result.dtype}{result.shape}, and is bound to "
                    f"{bound.array.dtype}{bound.array.shape}"
                )
            if not np.may_share_memory(result, bound.array):  # else it was written in place
                bound.array[...] = result
