"""A cell's trial by ONNX Runtime, on the device that will run it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import onnx

from cellwire.model_file.cell import Cell
from cellwire.model_file.errors import BadModel
from cellwire.model_file.interface import STATE, TOKEN
from cellwire.model_file.runtime_text import plain
from cellwire.model_file.tensors import all_nodes
from cellwire.model_file.trial import Findings, try_cell
from cellwire.model_file.trial_run import CellFailed
from cellwire.server.errors import StepFailed
from cellwire.server.programs.float16 import widen_float16
from cellwire.server.runtime.compiled import Array, Compiled
from cellwire.server.runtime.device import Execution
from cellwire.server.runtime.memory import memory_of
from cellwire.server.runtime.weights import Weights

# A step takes milliseconds, and a trial about a hundred of them.
LIMIT_S = 30.0


def check_cell(cell: Cell, execution: Execution, limit_s: float = LIMIT_S) -> tuple[str, ...]:
    """Try a cell; return what its users should know. BadModel says all that is wrong with it."""
    device = execution.device
    widened = replace(cell, graph=widen_float16(cell.graph)) if device.is_host else cell
    try:
        bare = _BareCell(widened, execution)
    except ValueError as error:
        raise BadModel(cell.path, [f"cannot be run: {plain(str(error))}"]) from error
    watch = threading.Timer(limit_s, bare.abort)
    watch.daemon = True
    watch.start()
    try:
        findings = try_cell(widened, bare.step, exact=device.is_host)
    except CellFailed as error:
        findings = Findings((f"a step fails at {error}",), ())
    except MemoryError:
        findings = Findings(("there is no memory for its steps",), ())
    finally:
        watch.cancel()
        bare.close()  # the watch holds it a little longer
    faults = findings.faults
    if bare.aborted:
        faults = (
            f"its steps did not end within {limit_s:g} s; a loop of the cell may have no end",
        )
    if faults:
        raise BadModel(cell.path, faults)
    return findings.notes


class _BareCell:
    """A cell compiled alone, without the arenas and the sampler."""

    def __init__(self, cell: Cell, execution: Execution) -> None:
        """Compile the cell; ValueError."""
        self._execution = execution
        self._memory = memory_of(execution.device)
        self._outputs = [value.name for value in cell.graph.graph.output]
        try:
            self._weights = Weights.shared(cell, self._memory)
            self._compiled = self._compile()
        except (MemoryError, StepFailed, ValueError):  # as in a runtime
            self._weights = Weights(cell)
            self._compiled = self._compile()
        self.aborted = False

    def _compile(self) -> Compiled:
        return Compiled(
            _with_names(self._weights.cell.graph).SerializeToString(),
            self._execution.threads,
            self._execution.device,
            constants=self._weights.constants,
            quiet=True,
        )

    def abort(self) -> None:
        """End the run in progress and all later ones."""
        self.aborted = True
        self._compiled.abort()

    def close(self) -> None:
        """Give the memory back."""
        self._compiled.close()
        self._weights.close()
        self._memory.close()

    def step(self, tokens: Array, states: Mapping[str, Array]) -> dict[str, Array]:
        """Run a step; CellFailed."""
        inputs = {TOKEN: tokens, **{STATE + name: array for name, array in states.items()}}
        try:
            outputs = self._compiled.run(self._outputs, inputs)
        except StepFailed as error:
            raise CellFailed(plain(str(error.__cause__))) from error
        return dict(zip(self._outputs, map(np.asarray, outputs), strict=True))


def _with_names(model: onnx.ModelProto) -> onnx.ModelProto:
    """Return the model with a name for every node, by which an error can name it."""
    named = onnx.ModelProto()
    named.CopyFrom(model)
    taken = {node.name for node in all_nodes(named)}
    for node in all_nodes(named):
        if not node.name and node.output:
            name = f"{node.op_type} of {node.output[0]}"
            node.name = "" if name in taken else name
            taken.add(name)
    return named
