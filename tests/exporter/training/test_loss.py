from __future__ import annotations

import pytest
import torch

from cellwire.exporter.data.batches import Batch
from cellwire.exporter.network.kinds import KINDS, Kind
from cellwire.exporter.network.network import Network, NetworkShape
from cellwire.exporter.training.loss import compute_loss


@pytest.mark.parametrize("kind", KINDS)
def test_padding_does_not_change_the_loss(kind: Kind) -> None:
    torch.manual_seed(3)
    model = Network(NetworkShape(kind, 9, 4, hidden=6, layers=2, labels=3)).eval()
    text = torch.tensor([[1, 2, 3]])
    padded = torch.tensor([[1, 2, 3, 0, 0], [1, 2, 3, 8, 7]])
    alone = compute_loss(model, Batch(text, torch.tensor([1]), torch.tensor([2])), None)
    both = compute_loss(model, Batch(padded, torch.tensor([1, 1]), torch.tensor([2, 2])), None)
    assert both.loss.item() == pytest.approx(alone.loss.item(), rel=1e-6)
