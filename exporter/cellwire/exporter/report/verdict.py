"""A diagnosis of a training by its losses: underfitting, overfitting or a good fit."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cellwire.exporter.runs.progress import Progress

_AGAINST_OVERFITTING = (
    "more text would help most; else raise network.dropout or optimizer.weight_decay, "
    "or lower network.hidden"
)


@dataclass(frozen=True, slots=True)
class Losses:
    """The characteristic losses of a training, in nats."""

    train: float  # at the end; with dropout, higher than without
    best: float  # the lowest of validation
    best_step: int
    final: float  # of validation, at the end
    earlier: float  # of validation, after four fifths of the checkpoints
    uniform: float  # of a uniform distribution
    dropout: bool = False  # whether the training loss is with dropout

    @classmethod
    def of(
        cls, checkpoints: Sequence[Progress], choices: int, *, dropout: bool = False
    ) -> Losses | None:
        """Return the losses of a training; None if nothing is held out.

        `choices` is the number of symbols or labels.
        """
        validations = [(p.validation.nats, p.step) for p in checkpoints if p.validation]
        if not validations:
            return None
        best, best_step = min(validations)
        return cls(
            train=checkpoints[-1].train.nats,
            best=best,
            best_step=best_step,
            final=validations[-1][0],
            earlier=validations[(len(validations) * 4) // 5 - 1][0],
            uniform=math.log(choices),
            dropout=dropout,
        )


# The first rule that holds gives the verdict. The factors are from experience.
_RULES: tuple[tuple[Callable[[Losses], bool], str], ...] = (
    (
        lambda losses: losses.best > 0.95 * losses.uniform,
        (
            "The network has learnt almost nothing: guessing would do as well. Train longer "
            "(run.epochs), change optimizer.learning_rate, or check the text."
        ),
    ),
    (
        lambda losses: losses.final > 1.01 * losses.best,
        (
            "Overfitting: after step {best_step:,} the network memorized its text and got worse on "
            "the held-out text. best.pt is from that step, so nothing is lost; "
            f"{_AGAINST_OVERFITTING}, or set fewer run.epochs."
        ),
    ),
    (
        lambda losses: losses.best > 1.15 * losses.train,
        (
            "Overfitting: the loss is clearly higher on held-out text than on training text; "
            f"{_AGAINST_OVERFITTING}."
        ),
    ),
    (
        lambda losses: losses.final < 0.98 * losses.earlier,
        "Underfitting: the loss was still falling at the end. Train longer (run.epochs).",
    ),
    (
        lambda losses: losses.best < 1.03 * losses.train and not losses.dropout,
        (
            "Underfitting: the loss is as low on held-out text as on training text, so the network "
            "could learn more. Raise network.hidden or run.epochs, or lower network.dropout."
        ),
    ),
    (
        lambda _: True,
        (
            "A good fit: the loss on held-out text is near that on training text, and no longer "
            "falling. Only a larger network with more text would do much better."
        ),
    ),
)


def verdict(losses: Losses | None) -> str:
    """Return whether a network underfits or overfits, and the settings to change.

    None stands for a training that held nothing out.
    """
    if losses is None:
        return (
            "Nothing was held out, so the loss only says how well the text is memorized; "
            "set data.validation_fraction to measure the network on text it has not seen."
        )
    text = next(text for holds, text in _RULES if holds(losses))
    return text.format(best_step=losses.best_step)
