"""What is measured: against plain passes of torch, symbol by symbol or text by text."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from cellwire.exporter.data.batches import Batch
from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.network.kinds import KINDS, Kind
from cellwire.exporter.network.network import Network, NetworkShape
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.training.evaluation import evaluate
from cellwire.exporter.training.loss import compute_loss

CPU = torch.device("cpu")


def network(kind: Kind = "lstm", labels: int = 0) -> Network:
    torch.manual_seed(3)
    return Network(NetworkShape(kind, 9, 4, hidden=6, layers=2, dropout=0.5, labels=labels))


@pytest.mark.parametrize("kind", KINDS)
def test_padding_after_a_text_changes_nothing(kind: Kind) -> None:
    model = network(kind, labels=3).eval()
    text = torch.tensor([[1, 2, 3]])
    padded = torch.tensor([[1, 2, 3, 0, 0], [1, 2, 3, 8, 7]])
    alone = compute_loss(model, Batch(text, torch.tensor([1]), torch.tensor([2])), None)
    both = compute_loss(model, Batch(padded, torch.tensor([1, 1]), torch.tensor([2, 2])), None)
    assert both.loss.item() == pytest.approx(alone.loss.item(), rel=1e-6)


def test_a_text_is_measured_with_the_state_carried() -> None:
    model = network().eval()
    ids = np.random.default_rng(0).integers(9, size=4 * 600 + 1)
    lanes = torch.from_numpy(np.stack([ids[i * 600 : i * 600 + 513] for i in range(4)]))
    with torch.no_grad():
        logits, _ = model(lanes[:, :-1])
    nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), lanes[:, 1:].flatten())
    measure = evaluate(model, ids, CPU)
    assert measure is not None
    assert measure.nats == pytest.approx(nats.item(), rel=1e-6)


def test_labelled_texts_are_measured_one_by_one() -> None:
    model = network(labels=3).eval()
    random = np.random.default_rng(0)
    texts = tuple(random.integers(9, size=random.integers(1, 20)) for _ in range(300))
    examples = Examples(texts, random.integers(3, size=300))
    losses, right = [], 0
    with torch.no_grad():
        for text, label in zip(texts, examples.labels, strict=True):
            scores = model(torch.from_numpy(text)[None])[0][0, -1]
            losses.append(-torch.log_softmax(scores, 0)[label].item())
            right += int(scores.argmax() == label)
    measure = evaluate(model, examples, CPU)
    assert measure is not None
    assert measure.nats == pytest.approx(np.mean(losses), rel=1e-5)
    assert measure.accuracy == pytest.approx(right / 300)


def test_measuring_leaves_the_network_learning_and_chance_alone() -> None:
    model = network()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    evaluate(model, np.arange(9), CPU)
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert evaluate(model, np.arange(0), CPU) is None


def test_a_measure_has_all_units() -> None:
    measure = Measure(math.log(8))
    assert measure.bits == pytest.approx(3)
    assert measure.perplexity == pytest.approx(8)
    assert (
        measure.describe("character") == "2.0794 nats, perplexity 8.00, 3.0000 bits per character"
    )
    assert Measure(0.5, 0.875).describe("text") == "accuracy 87.50%, 0.5000 nats per text"
    assert Measure(1e6).perplexity == math.inf
    assert not Measure(math.nan).is_finite
