"""The loss of a batch: cross-entropy of the next tokens, or of the texts' labels."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cellwire.exporter.data.batches import Batch
from cellwire.exporter.network.cell import State
from cellwire.exporter.network.network import Network


@dataclass(frozen=True, slots=True, eq=False)
class BatchLoss:
    """A batch's loss, on the network's device, so that computing it waits for nothing."""

    loss: Tensor  # nats, []
    state: State  # after the batch
    accuracy: Tensor | None  # fraction of correct labels, []; None: the network has no labels


def compute_loss(network: Network, batch: Batch, state: State | None) -> BatchLoss:
    """Run the network on a batch from `state`; None stands for zeros."""
    outputs, next_state = network.read(batch.inputs, state)
    if batch.last_positions is not None:
        lanes = torch.arange(len(outputs), device=outputs.device)
        outputs = outputs[lanes, batch.last_positions]
    logits = network.head(outputs).flatten(0, -2)
    targets = batch.targets.flatten()
    loss = cross_entropy(logits, targets)
    accuracy = None
    if network.shape.labels:
        accuracy = (logits.detach().argmax(1) == targets).float().mean()
    return BatchLoss(loss, next_state, accuracy)
