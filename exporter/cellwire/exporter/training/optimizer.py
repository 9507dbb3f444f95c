"""The optimizer of a recipe: its kind, its learning rate over time, and the clipping of gradients.

There are three schedules of the learning rate:

cosine     a linear warm-up over 5 % of the steps, then half a cosine down to 1 %
constant   the same at all steps
step       multiplied by a factor after every so many epochs
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn, optim

from cellwire.exporter.recipe.recipe import OptimizerSettings

WARM_UP_FRACTION = 0.05  # of the steps
FINAL_FACTOR = 0.01


def make_optimizer(settings: OptimizerSettings, parameters: Sequence[Tensor]) -> optim.Optimizer:
    """Return the optimizer of `parameters`."""
    rate, decay = settings.learning_rate, settings.weight_decay
    if settings.kind == "rmsprop":
        return optim.RMSprop(parameters, lr=rate, weight_decay=decay)
    # A fused optimizer reads and writes each parameter once a step.
    kinds = {"adamw": optim.AdamW, "adam": optim.Adam, "sgd": optim.SGD}
    optimizer: optim.Optimizer = kinds[settings.kind](
        parameters, lr=rate, weight_decay=decay, fused=True
    )
    return optimizer


def rate_factor(settings: OptimizerSettings, step: int, steps: int, epoch_steps: int) -> float:
    """Return the factor of the learning rate at `step` of `steps`."""
    if settings.schedule == "constant":
        return 1.0
    if settings.schedule == "step":
        return settings.step_factor ** (step // (epoch_steps * settings.step_epochs))
    return cosine_factor(step, steps)


def cosine_factor(step: int, steps: int) -> float:
    """Return the factor of the peak rate at `step`: a linear warm-up, then half a cosine."""
    warm_up = max(1, round(steps * WARM_UP_FRACTION))
    if step < warm_up:
        return (step + 1) / warm_up
    phase = (step - warm_up) / max(1, steps - warm_up)
    return FINAL_FACTOR + (1 - FINAL_FACTOR) * 0.5 * (1 + math.cos(math.pi * phase))


def clip_gradients(settings: OptimizerSettings, parameters: Sequence[Tensor]) -> None:
    """Scale or clamp gradients above the bound: all together, by tensor, or by element."""
    match settings.clip:
        case "global_norm":
            nn.utils.clip_grad_norm_(parameters, settings.clip_at)
        case "norm":
            for parameter in parameters:
                nn.utils.clip_grad_norm_(parameter, settings.clip_at)
        case "value":
            nn.utils.clip_grad_value_(parameters, settings.clip_at)
        case "none":
            pass
