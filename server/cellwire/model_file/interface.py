"""The inputs and outputs of a cell, held against the contract; all faults at once."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import onnx

from cellwire.model_file.manifest import Manifest
from cellwire.model_file.required_tensor import (
    RequiredTensor,
    Values,
    batch_is_fixed,
    describe,
    is_float,
    row_shape,
    shape_fault,
    shown_names,
)
from cellwire.model_file.tensors import graphs_of

TOKEN = "token"  # noqa: S105  # the name of an input, not a secret
LOGITS = "logits"
SCORES = "scores"
STATE = "state."
NEXT_STATE = "next_state."
RESERVED = "cellwire."  # the prefix of the names of the graph around a cell

_FLOAT32, _INT64 = onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
_FLOAT32_BYTES = 4


@dataclass(frozen=True, slots=True)
class StateTensor:
    """One tensor of the cell's state."""

    name: str  # without the prefix
    shape: tuple[int, ...]  # of one row: without the batch

    @property
    def bytes(self) -> int:
        """The size of one row."""
        return _FLOAT32_BYTES * math.prod(self.shape)


class Interface:
    """The inputs and outputs of a graph, none of them a constant."""

    def __init__(self, graph: onnx.GraphProto, manifest: Manifest | None) -> None:
        """Without a `manifest`, the numbers of symbols and labels are not checked."""
        self._graph = graph
        self._manifest = manifest
        self.inputs: Values = {value.name: value for value in graph.input}
        self.outputs: Values = {value.name: value for value in graph.output}
        self.generates = LOGITS in self.outputs
        self.states = tuple(
            StateTensor(name.removeprefix(STATE), row_shape(value))
            for name, value in self.inputs.items()
            if name.startswith(STATE)
        )
        self._read = set(_read_names(graph.node))
        heads = {LOGITS, SCORES, *(NEXT_STATE + state.name for state in self.states)}
        self._other_outputs = [name for name in self.outputs if name not in heads]

    @property
    def memoryless(self) -> bool:
        """Whether no node reads any state."""
        return not any(STATE + state.name in self._read for state in self.states)

    def faults(self) -> Iterator[str]:
        """Yield what breaks the contract."""
        yield from self._token_faults()
        yield from self._state_faults()
        yield from self._head_faults()
        yield from self._next_state_faults()
        for name in self._other_outputs:
            yield (
                f"output {name!r} is not in the contract (it is {describe(self.outputs[name])}); "
                f"remove it, or add its input '{STATE}<name>' if it is a state"
            )
        if own := sorted({name for name in _own_names(self._graph) if name.startswith(RESERVED)}):
            yield (
                f"{shown_names(own)}: values named {RESERVED}* are the daemon's own; "
                "give them other names"
            )

    @property
    def mend(self) -> str:
        """What gives the graph the contract's names and batch at once; empty if it has them."""
        required = {TOKEN, *(STATE + state.name for state in self.states)}
        next_states = {NEXT_STATE + state.name for state in self.states}
        values = [*self.inputs.values(), *self.outputs.values()]
        if (
            self.states
            and not self._other_outputs
            and required == self.inputs.keys()
            and next_states <= self.outputs.keys()
            and not any(batch_is_fixed(value) for value in values)
        ):
            return ""
        others = [n for n, value in self.inputs.items() if n not in required and is_float(value)]
        head = SCORES if self._manifest and self._manifest.labels else LOGITS
        return _torch_call([*(state.name for state in self.states), *others] or ["h"], head)

    def _token_faults(self) -> Iterator[str]:
        others = [name for name in self.inputs if not name.startswith(STATE)]
        yield from RequiredTensor("input", TOKEN, _INT64, ()).faults(self.inputs, others)
        if TOKEN in self.inputs and TOKEN not in self._read:
            yield f"no node reads input {TOKEN!r}; the model would answer the same to every text"

    def _state_faults(self) -> Iterator[str]:
        others = [n for n in self.inputs if n != TOKEN and not n.startswith(STATE)]
        if TOKEN not in self.inputs:  # the one that is said to be meant is not a state
            integers = [n for n in others if not is_float(self.inputs[n])]
            others = [n for n in others if n not in integers[:1]]
        for name in others:
            value = self.inputs[name]
            yield (
                f"input {name!r} is not in the contract (it is {describe(value)}); "
                f"remove it, or rename it '{STATE}{name}' if it is a state"
            )
            if is_float(value) and (fault := shape_fault(value)):
                yield f"input {fault}"
        if not self.states and not any(is_float(self.inputs[name]) for name in others):
            yield f"no input '{STATE}<name>'; a cell needs at least one state"
        for state in self.states:
            yield from self._faults_of_state(state)

    def _faults_of_state(self, state: StateTensor) -> Iterator[str]:
        name = STATE + state.name
        if fault := shape_fault(self.inputs[name]):
            yield f"input {fault}"
        else:
            yield from RequiredTensor("input", name, _FLOAT32, state.shape).faults(self.inputs)
        if name not in self._read and not self.memoryless:
            yield (
                f"no node reads input {name!r}, so that state would be lost; torch's exporter "
                "merges two inputs that are one tensor in the example: give each its own, "
                "as in (torch.zeros(...), torch.zeros(...))"
            )

    def _head_faults(self) -> Iterator[str]:
        if self._manifest is None:
            if not {LOGITS, SCORES} & self.outputs.keys():
                yield (
                    f"no output {LOGITS!r} (float[batch, symbols]) and no output {SCORES!r} "
                    f"(float[batch, labels]); there are: {shown_names(self.outputs)}"
                )
            return
        labels = len(self._manifest.labels)
        if SCORES in self.outputs and not labels:
            yield f"output {SCORES!r} has no labels; list them under 'labels' in the manifest"
        if labels:
            reason = "one column for each label in the manifest"
            yield from self._output_faults(SCORES, (labels,), reason)
        if LOGITS in self.outputs or not labels:
            reason = "one column for each symbol of the vocabulary"
            yield from self._output_faults(LOGITS, (self._manifest.vocabulary.size,), reason)

    def _next_state_faults(self) -> Iterator[str]:
        for state in self.states:
            reason = f"like '{STATE}{state.name}'"
            yield from self._output_faults(NEXT_STATE + state.name, state.shape, reason)

    def _output_faults(self, name: str, shape: tuple[int, ...], reason: str) -> Iterator[str]:
        if 0 in shape:  # its input's fault has been told
            return
        required = RequiredTensor("output", name, _FLOAT32, shape, reason)
        yield from required.faults(self.outputs, self._other_outputs)


def _torch_call(states: Sequence[str], head: str) -> str:
    """Return the call of torch's exporter that gives a cell the names of the contract."""
    inputs = [TOKEN, *(STATE + name for name in states)]
    outputs = [head, *(NEXT_STATE + name for name in states)]
    batch = ", ".join(['{0: "batch"}'] * len(inputs))
    return (
        f"torch.onnx.export(cell, ({', '.join([TOKEN, *states])}), PATH, input_names={inputs}, "
        f"output_names={outputs}, dynamic_shapes=({batch}), external_data=False), with two "
        "texts in the example; or the same names and batch with onnx.helper"
    )


def _read_names(nodes: Sequence[onnx.NodeProto]) -> Iterator[str]:
    """Yield every name that a node reads, also within inner graphs."""
    for node in nodes:
        yield from node.input
        for graph in graphs_of(node):
            yield from _read_names(graph.node)
            yield from (value.name for value in graph.output)


def _own_names(graph: onnx.GraphProto) -> Iterator[str]:
    yield from (name for node in graph.node for name in node.output)
    yield from (tensor.name for tensor in graph.initializer)
