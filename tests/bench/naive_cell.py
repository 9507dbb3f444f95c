"""A cell for servers that do not batch: one call per client and step."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
import torch
from tests.bench.models import network

Logits = npt.NDArray[np.float32]  # [vocabulary]


class Cell(Protocol):
    """Steps one client's state."""

    def initial(self) -> Any:  # noqa: ANN401  # the kind of state depends on the cell
        """Return the state of a client that has no text."""

    def step(self, token: int, state: Any) -> tuple[Logits, Any]:  # noqa: ANN401
        """Read a token; return what may come next, and the new state."""


class OnnxCell:
    """The model file in ONNX Runtime; a state is a dictionary of arrays."""

    def __init__(self, model: Path, threads: int) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        providers = ["CPUExecutionProvider"]
        self._session = ort.InferenceSession(model, options, providers=providers)
        self._outputs = [output.name for output in self._session.get_outputs()]
        self._widths = {i.name: i.shape[1] for i in self._session.get_inputs() if i.shape[1:]}
        # logits first, then the states in the order of the inputs
        names = [name.removeprefix("next_") for name in self._outputs[1:]]
        assert names == list(self._widths)

    def initial(self) -> dict[str, Logits]:
        return {name: np.zeros((1, width), np.float32) for name, width in self._widths.items()}

    def step(self, token: int, state: dict[str, Logits]) -> tuple[Logits, dict[str, Logits]]:
        inputs = {"token": np.array([token]), **state}
        logits, *states = self._session.run(self._outputs, inputs)
        return logits[0], dict(zip(state, states, strict=True))


class TorchCell:
    """The same weights in PyTorch; a state is what nn.LSTM returned.

    Without oneDNN, which prepares an LSTM's weights anew in every call: that takes several times as
    long as the step.
    """

    def __init__(self, model: Path, threads: int) -> None:
        torch.backends.mkldnn.set_flags(_enabled=False)  # type: ignore[no-untyped-call]
        torch.set_num_threads(threads)
        self._model = network(model.stem.partition("-")[0])

    def initial(self) -> None:
        return None

    def step(self, token: int, state: Any) -> tuple[Logits, Any]:  # noqa: ANN401
        with torch.inference_mode():
            logits, after = self._model(torch.tensor([[token]]), state)
        return logits[0, 0].numpy(), after


CELLS: dict[str, type[OnnxCell | TorchCell]] = {"onnx": OnnxCell, "torch": TorchCell}
