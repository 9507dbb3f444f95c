"""Small networks with random weights, and their outputs in torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from cellwire.exporter.network.kinds import Kind, cell_kind
from cellwire.exporter.network.network import Network, NetworkShape

VOCABULARY, EMBEDDING, HIDDEN = 11, 5, 19  # no multiples of any vector width

Array = npt.NDArray[Any]


def small_network(
    kind: Kind, layers: int = 1, *, embedding: int | None = EMBEDDING, labels: int = 0
) -> Network:
    torch.manual_seed(layers)
    shape = NetworkShape(kind, VOCABULARY, embedding, HIDDEN, layers, labels=labels)
    network = Network(shape).eval()
    with torch.no_grad():
        for name, weights in network.named_parameters():
            if "layers" in name:
                weights.mul_(2)  # so that gates open and close
    return network


def random_tokens(steps: int, batch: int) -> Array:
    return np.random.default_rng(batch).integers(VOCABULARY, size=(steps, batch))


def torch_outputs(network: Network, tokens: Array) -> dict[str, Array]:
    """Answers to tokens `[steps, batch]` read at once, `[steps, batch, n]`, and the last states."""
    with torch.no_grad():
        answers, states = network(torch.from_numpy(tokens.T.copy()))
        if network.shape.labels:
            answers = answers.softmax(dim=2)
    return {
        "scores" if network.shape.labels else "logits": answers.numpy().swapaxes(0, 1),
        **{
            f"next_state.{part}{layer}": rows.numpy()
            for part, tensor in zip(cell_kind(network.shape.cell).state_names, states, strict=True)
            for layer, rows in enumerate(tensor)
        },
    }
