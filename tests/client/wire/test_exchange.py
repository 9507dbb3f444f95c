"""What an answer of another kind than the expected one means."""

from __future__ import annotations

import pytest

from cellwire.client import Cancelled, Finished, FinishReason, Internal, Superseded, Usage
from cellwire.client.values import Appended, Rewound
from cellwire.client.wire.exchange import expect


def finished(reason: FinishReason) -> Finished:
    return Finished(reason, 1, Usage(0, 0))


def test_an_answer_of_the_expected_kind_is_returned() -> None:
    answer = Appended(1, 0.0)
    assert expect(Appended, answer) is answer


@pytest.mark.parametrize(
    ("reason", "error"),
    [(FinishReason.SUPERSEDED, Superseded), (FinishReason.CANCELLED, Cancelled)],
)
def test_an_operation_that_ended_early_raises(reason: FinishReason, error: type[Exception]) -> None:
    with pytest.raises(error):
        expect(Appended, finished(reason))


def test_an_answer_of_another_kind_breaks_the_contract() -> None:
    with pytest.raises(Internal, match="Rewound, not Appended"):
        expect(Appended, Rewound(1))
