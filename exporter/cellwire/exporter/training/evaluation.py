"""The evaluation of a network on held-out text."""

from __future__ import annotations

import torch

from cellwire.exporter.data.batches import Batch, batches_by_length
from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.data.vocabulary import Tokens
from cellwire.exporter.data.windows import Windows
from cellwire.exporter.network.cell import State
from cellwire.exporter.network.network import Network
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.training.loss import compute_loss

TEXT_WINDOWS = Windows(lanes=4, window=256)
_EXAMPLE_LANES = 128


def evaluate(network: Network, held_out: Tokens | Examples, device: torch.device) -> Measure | None:
    """Measure the network on the held-out part; None if nothing is held out."""
    if not len(held_out):
        return None
    network.eval()
    with torch.no_grad():
        if isinstance(held_out, Examples):
            measure = _evaluate_examples(network, held_out, device)
        else:
            measure = _evaluate_text(network, held_out, device)
    network.train()
    return measure


def _evaluate_text(network: Network, tokens: Tokens, device: torch.device) -> Measure:
    """Read a text `[n]`, carrying the state from start to end.

    The text is cut into four lanes that start from zero states, so the loss is at most slightly
    higher than that of one pass.
    """
    window = min(TEXT_WINDOWS.window, len(tokens) - 1)
    windows = Windows.fit(len(tokens), TEXT_WINDOWS.lanes, window)
    state: State | None = None
    all_starts = windows.carried_starts(len(tokens))
    # Kept one by one, the losses would lie between large tensors, and hold their memory.
    losses = torch.empty(len(all_starts), dtype=torch.float64, device=device)
    for number, starts in enumerate(all_starts):
        inputs, targets = map(torch.from_numpy, windows.cut(tokens, starts))
        batch_loss = compute_loss(network, Batch(inputs, targets).to(device), state)
        state = batch_loss.state
        losses[number] = batch_loss.loss
    return Measure(losses.mean().item())


def _evaluate_examples(network: Network, examples: Examples, device: torch.device) -> Measure:
    """Read each labelled text from a zero state."""
    losses, accuracies, sizes = [], [], []
    for batch in batches_by_length(examples, _EXAMPLE_LANES):
        batch_loss = compute_loss(network, batch.to(device), None)
        losses.append(batch_loss.loss)
        accuracies.append(batch_loss.accuracy)
        sizes.append(len(batch.inputs))
    weights = torch.tensor(sizes, dtype=torch.float64) / len(examples)
    loss, accuracy = (
        (torch.stack([v for v in values if v is not None]).double().cpu() * weights).sum().item()
        for values in (losses, accuracies)
    )
    return Measure(loss, accuracy)
