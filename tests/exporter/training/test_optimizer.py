from __future__ import annotations

import pytest
import torch

from cellwire.exporter.recipe.recipe import OptimizerSettings
from cellwire.exporter.training.optimizer import clip_gradients, make_optimizer, rate_factor

GRADIENTS = ([3.0, 4.0], [0.0, 12.0])  # of norms 5 and 12, together 13


def clipped(kind: str, bound: float) -> list[list[float]]:
    parameters = [torch.zeros(2, requires_grad=True) for _ in GRADIENTS]
    for parameter, gradient in zip(parameters, GRADIENTS, strict=True):
        parameter.grad = torch.tensor(gradient)
    clip_gradients(OptimizerSettings(clip=kind, clip_at=bound), parameters)  # type: ignore[arg-type]
    return [p.grad.tolist() for p in parameters if p.grad is not None]


def test_gradients_are_clipped_globally_by_tensor_or_by_element() -> None:
    assert clipped("none", 1.0) == [*GRADIENTS]
    for gradients, expected in zip(
        (clipped("global_norm", 6.5), clipped("norm", 6.0), clipped("value", 3.5)),
        ([[1.5, 2.0], [0, 6.0]], [[3.0, 4.0], [0.0, 6.0]], [[3.0, 3.5], [0, 3.5]]),
        strict=True,
    ):
        assert gradients == [pytest.approx(row, rel=1e-5) for row in expected]
    assert clipped("global_norm", 100.0) == [*GRADIENTS]


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("adamw", torch.optim.AdamW),
        ("adam", torch.optim.Adam),
        ("sgd", torch.optim.SGD),
        ("rmsprop", torch.optim.RMSprop),
    ],
)
def test_the_optimizer_is_that_of_the_settings(kind: str, expected: type) -> None:
    settings = OptimizerSettings(kind=kind, learning_rate=0.5, weight_decay=0.25)  # type: ignore[arg-type]
    optimizer = make_optimizer(settings, [torch.zeros(2, requires_grad=True)])
    assert type(optimizer) is expected
    (group,) = optimizer.param_groups
    assert (group["lr"], group["weight_decay"]) == (0.5, 0.25)


def shares(schedule: str, **settings: float) -> list[float]:
    options = OptimizerSettings(schedule=schedule, **settings)  # type: ignore[arg-type]
    return [rate_factor(options, step, steps=200, epoch_steps=50) for step in range(200)]


def test_a_cosine_warms_up_and_ends_near_zero() -> None:
    rates = shares("cosine")
    assert rates[:10] == pytest.approx([(i + 1) / 10 for i in range(10)])
    assert max(rates) == rates[10] == 1
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[-1] == pytest.approx(0.01, abs=1e-3)


def test_a_constant_does_not_change_and_steps_fall_after_epochs() -> None:
    assert set(shares("constant")) == {1.0}
    steps = shares("step", step_epochs=2, step_factor=0.1)
    assert (set(steps[:100]), set(steps[100:])) == ({1.0}, {0.1})
