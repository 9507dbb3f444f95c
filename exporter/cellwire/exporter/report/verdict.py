"""What the losses of a training say about it, in plain words."""

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
    """The losses of a whole training that count, in nats, and what guessing would cost."""

    train: float  # at the end; dropout makes it higher than the network is bad
    best: float  # the lowest on what is held out,
    best_step: int
    last: float  # and that at the end
    before: float  # and that after four fifths of the checkpoints
    chance: float
    dropout: bool = False  # whether the training loss is of a network that lacks units

    @classmethod
    def of(
        cls, checkpoints: Sequence[Progress], choices: int, *, dropout: bool = False
    ) -> Losses | None:
        """Return those of a training with so many choices; None if nothing is held out."""
        held_out = [(p.validation.nats, p.step) for p in checkpoints if p.validation]
        if not held_out:
            return None
        best, best_step = min(held_out)
        return cls(
            train=checkpoints[-1].train.nats,
            best=best,
            best_step=best_step,
            last=held_out[-1][0],
            before=held_out[(len(held_out) * 4) // 5 - 1][0],
            chance=math.log(choices),
            dropout=dropout,
        )


# The first that holds is said. Shares of a loss are by experience.
_RULES: tuple[tuple[Callable[[Losses], bool], str], ...] = (
    (
        lambda losses: losses.best > 0.95 * losses.chance,
        (
            "It has learnt almost nothing: guessing would do as well. Train longer (run.epochs), "
            "change optimizer.learning_rate, or look whether the text is what it should be."
        ),
    ),
    (
        lambda losses: losses.last > 1.01 * losses.best,
        (
            "Overfitting: after step {best_step:,} the network went on learning its text by heart "
            "and got worse on what is held out. best.pt is from that step, so nothing is lost; "
            f"{_AGAINST_OVERFITTING}, or set fewer run.epochs."
        ),
    ),
    (
        lambda losses: losses.best > 1.15 * losses.train,
        (
            "Overfitting: it does clearly worse on what is held out than on what it has learnt "
            f"from; {_AGAINST_OVERFITTING}."
        ),
    ),
    (
        lambda losses: losses.last < 0.98 * losses.before,
        "Underfitting: the loss was still falling at the end. Train longer (run.epochs).",
    ),
    (
        lambda losses: losses.best < 1.03 * losses.train and not losses.dropout,
        (
            "Underfitting: it does as well on what is held out as on what it has learnt from, so "
            "it could learn more. Raise network.hidden or run.epochs, or lower network.dropout."
        ),
    ),
    (
        lambda _: True,
        (
            "A good fit: not much better on what it has learnt from than on what is held out, and "
            "no longer improving. Only a larger network with more text would do much better."
        ),
    ),
)


def verdict(losses: Losses | None) -> str:
    """Say whether a network learnt too little or too much by heart, and what to change.

    None stands for a training that held nothing out.
    """
    if losses is None:
        return (
            "Nothing was held out, so the loss only says how well the text is known by heart; "
            "set data.validation_share to see how well the network does on text it has not seen."
        )
    text = next(text for holds, text in _RULES if holds(losses))
    return text.format(best_step=losses.best_step)
