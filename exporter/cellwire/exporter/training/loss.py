"""What a network is to do well: say the next symbols, or a text's label."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from cellwire.exporter.data.batches import Batch, sorted_batches
from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.data.vocabulary import Ids
from cellwire.exporter.data.windows import Windows
from cellwire.exporter.network.cell import State
from cellwire.exporter.network.network import Network
from cellwire.exporter.runs.measure import Measure

VALIDATION_WINDOWS = Windows(lanes=4, window=256)
_VALIDATION_LANES = 128  # of labelled texts


@dataclass(frozen=True, slots=True, eq=False)
class Outcome:
    """How well one batch was done; on the device, so that nothing waits for it."""

    loss: Tensor  # nats, []
    state: State
    right: Tensor | None  # the share of labels that were right, []; None: there are none


def attempt(network: Network, batch: Batch, state: State | None) -> Outcome:
    """Run the network on a batch from `state`; None stands for zeros."""
    outputs, after = network.read(batch.inputs, state)
    if batch.lasts is not None:
        outputs = outputs[torch.arange(len(outputs), device=outputs.device), batch.lasts]
    logits = network.head(outputs).flatten(0, -2)
    targets = batch.targets.flatten()
    loss = cross_entropy(logits, targets)
    right = None
    if network.shape.labels:
        right = (logits.detach().argmax(1) == targets).float().mean()
    return Outcome(loss, after, right)


def validated(network: Network, held_out: Ids | Examples, device: torch.device) -> Measure | None:
    """Measure the network on what is held out; None if nothing is."""
    if not len(held_out):
        return None
    network.eval()
    with torch.no_grad():
        if isinstance(held_out, Examples):
            measure = _on_examples(network, held_out, device)
        else:
            measure = _on_text(network, held_out, device)
    network.train()
    return measure


def _on_text(network: Network, ids: Ids, device: torch.device) -> Measure:
    """Read a text int64 `[n]`, the state carried from start to end.

    The text is cut into four lanes that each start from a zero state, so the figure is, if
    anything, a little worse than that of one unbroken pass.
    """
    window = min(VALIDATION_WINDOWS.window, len(ids) - 1)
    windows = Windows.fitting(len(ids), VALIDATION_WINDOWS.lanes, window)
    state: State | None = None
    losses = []
    for starts in windows.carried(len(ids)):
        inputs, targets = map(torch.from_numpy, windows.cut(ids, starts))
        outcome = attempt(network, Batch(inputs, targets).to(device), state)
        state = outcome.state
        losses.append(outcome.loss)
    return Measure(torch.stack(losses).double().mean().item())


def _on_examples(network: Network, examples: Examples, device: torch.device) -> Measure:
    losses, rights, sizes = [], [], []
    for batch in sorted_batches(examples, _VALIDATION_LANES):
        outcome = attempt(network, batch.to(device), None)
        losses.append(outcome.loss)
        rights.append(outcome.right)
        sizes.append(len(batch.inputs))
    shares = torch.tensor(sizes, dtype=torch.float64) / len(examples)
    loss, right = (
        (torch.stack([v for v in values if v is not None]).double().cpu() * shares).sum().item()
        for values in (losses, rights)
    )
    return Measure(loss, right)
