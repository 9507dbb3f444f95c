"""Evaluation equals plain passes of torch, token by token or text by text."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from cellwire.exporter.data.labelled import Examples
from cellwire.exporter.network.network import Network, NetworkShape
from cellwire.exporter.training.evaluation import evaluate

CPU = torch.device("cpu")


def network(labels: int = 0) -> Network:
    torch.manual_seed(3)
    return Network(NetworkShape("lstm", 9, 4, hidden=6, layers=2, dropout=0.5, labels=labels))


def test_a_text_is_evaluated_with_the_state_carried() -> None:
    model = network().eval()
    ids = np.random.default_rng(0).integers(9, size=4 * 600 + 1)
    lanes = torch.from_numpy(np.stack([ids[i * 600 : i * 600 + 513] for i in range(4)]))
    with torch.no_grad():
        logits, _ = model(lanes[:, :-1])
    nats = torch.nn.functional.cross_entropy(logits.flatten(0, 1), lanes[:, 1:].flatten())
    measure = evaluate(model, ids, CPU)
    assert measure is not None
    assert measure.nats == pytest.approx(nats.item(), rel=1e-6)


def test_labelled_texts_are_evaluated_one_by_one() -> None:
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


def test_evaluation_keeps_training_mode_and_random_state() -> None:
    model = network()
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    evaluate(model, np.arange(9), CPU)
    assert torch.equal(torch.rand(3), expected)
    assert model.training
    assert evaluate(model, np.arange(0), CPU) is None
