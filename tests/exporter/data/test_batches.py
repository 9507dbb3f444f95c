from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from tests.exporter.trainings import recipe

from cellwire.exporter.data.batches import Batch, ExampleBatches, TextBatches, batches_by_length
from cellwire.exporter.data.labelled import Examples

TEXT = np.arange(500)


def text_batches(*settings: str) -> TextBatches:
    return TextBatches(TEXT, recipe(*settings))


def examples(count: int) -> Examples:
    """Texts of 1 to 9 tokens that equal their index, which is the label."""
    texts = tuple(np.full(1 + i * 7 % 9, i) for i in range(count))
    return Examples(texts, np.arange(count))


@pytest.mark.parametrize("order", ["carried", "random", "shuffled_rows"])
def test_an_epoch_can_start_at_any_batch(order: str) -> None:
    batches = text_batches(f"batches.order={order}")
    whole = [batch.inputs.tolist() for batch in batches.epoch(2)]
    assert len(whole) == batches.epoch_steps == 7
    assert [batch.inputs.tolist() for batch in batches.epoch(2, 4)] == whole[4:]
    assert [batch.inputs.tolist() for batch in batches.epoch(3)] != whole


@pytest.mark.parametrize("order", ["carried", "shuffled_rows"])
def test_the_state_is_carried_only_where_the_text_continues(order: str) -> None:
    batches = list(text_batches(f"batches.order={order}").epoch(0))
    assert [batch.carries_state for batch in batches] == [False, *[True] * (len(batches) - 1)]
    for before, after in pairwise(batches):
        assert torch.equal(before.targets[:, -1], after.inputs[:, 0])


def test_random_windows_start_from_zero_states() -> None:
    assert not any(batch.carries_state for batch in text_batches("batches.order=random").epoch(0))


def test_the_loss_may_be_of_the_last_token_only() -> None:
    batch = next(text_batches("batches.loss=last").epoch(0))
    assert batch.last_positions is not None
    assert batch.targets.tolist() == (batch.inputs[:, -1] + 1).tolist()
    assert batch.last_positions.tolist() == [15] * 4


def texts_in(batch: Batch) -> list[list[int]]:
    assert batch.last_positions is not None
    return [
        row[: last + 1].tolist()
        for row, last in zip(batch.inputs, batch.last_positions, strict=True)
    ]


def test_an_epoch_has_every_labelled_text_once() -> None:
    batches = ExampleBatches(examples(403), lanes=4, seed=1)
    seen = {}
    for batch in batches.epoch(0):
        for text, label in zip(texts_in(batch), batch.targets.tolist(), strict=True):
            assert set(text) == {label}
            assert label not in seen
            seen[label] = len(text)
    assert seen == {i: len(text) for i, text in enumerate(examples(403).texts)}
    assert batches.epoch_steps == 101


def test_batches_hold_texts_of_similar_length_in_random_order() -> None:
    batches = ExampleBatches(examples(400), lanes=4, seed=1)
    first, second = ([batch.targets.tolist() for batch in batches.epoch(n)] for n in (0, 1))
    assert first != second
    assert [batch.targets.tolist() for batch in batches.epoch(0, 60)] == first[60:]
    spread = [max(map(len, texts_in(b))) - min(map(len, texts_in(b))) for b in batches.epoch(0)]
    assert sum(spread) < 0.2 * len(spread)


def test_validation_reads_the_shortest_texts_first() -> None:
    lengths = [len(text) for b in batches_by_length(examples(50), 8) for text in texts_in(b)]
    assert lengths == sorted(len(text) for text in examples(50).texts)
