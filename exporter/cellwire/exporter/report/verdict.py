"""A diagnosis of a training by its curves, and the advice that they justify.

The rules, in this order; the first that holds decides:

1. (Nearly) all held-out labels right, or a held-out loss near zero: nothing is left to gain.
2. Fewer than four validations show no trend.
3. Losses that rise again, in training and held out: the learning rate is too high.
4. A loss near that of guessing by frequency: (almost) nothing was learnt.
5. The held-out loss rose to the end while the training loss fell: the text is being memorized. Only
   then is regularization of use.
6. The held-out loss was at its best at the end, and fell clearly in the second half: whatever the
   gap to the training loss, longer training and a larger network help.
7. It is level and as low as the training loss: the network is too small for the text.
8. It is level and above the training loss: a good fit.

No rule advises a smaller network: in the trainings of growing networks that were recorded
(tests/exporter/report/recorded), a larger or longer one was better on held-out text each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cellwire.exporter.report.trend import Trend

_MIN_VALIDATIONS = 4
_UNSTEADY = 0.02  # of the baseline
_NOTHING, _ABOVE_GUESSING = 0.95, 1.05  # of the baseline
_SOLVED, _RIGHT = 0.02, 0.99  # of the baseline; of the labels
_MEMORIZED = 0.02  # rise from the best to the end
_AT_ITS_BEST = 0.002  # rise to the end that is noise
_STILL_FALLING = 0.01  # in the second half
_GAP, _WIDE_GAP = 0.05, 0.15  # from training to held out


class Advice(StrEnum):
    """A change that would make the next training better."""

    LONGER = "train longer (run.epochs)"
    LARGER = "a larger network (network.hidden, network.layers)"
    MORE_TEXT = "more text"
    DROPOUT = "dropout (network.dropout between layers, network.dropout_outputs after the last)"
    LESS_DROPOUT = "less dropout"
    LOWER_RATE = "a lower learning rate (--learning-rate), a half or a tenth of this"
    HIGHER_RATE = "a higher learning rate (--learning-rate), ten times this"
    OTHER_RATE = "another learning rate (--learning-rate), a tenth of this or ten times"
    CHECK_TEXT = "a look at the text: is there something in it to learn?"
    HOLD_OUT_MORE = "more held-out texts (data.validation_fraction)"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the curves show, and what is worth a try, the best first."""

    finding: str
    advice: tuple[Advice, ...] = ()

    def __str__(self) -> str:
        if not self.advice:
            return self.finding
        return f"{self.finding} Worth a try: {'; '.join(self.advice)}."


def verdict(trend: Trend | None) -> Verdict:
    """Return a diagnosis of a training; None stands for one that held nothing out."""
    if trend is None:
        return Verdict(
            "Nothing was held out, so the loss only says how well the text is memorized; "
            "set data.validation_fraction to measure the network on text it has not seen."
        )
    rules = (
        _solved,
        _too_short,
        _unsteady,
        _nothing_learnt,
        _memorized,
        _still_falling,
        _too_small,
    )
    return next(filter(None, (rule(trend) for rule in rules)), None) or _good_fit(trend)


def _solved(trend: Trend) -> Verdict | None:
    texts = trend.setting.held_out_texts
    if trend.accuracy is not None and trend.accuracy >= _RIGHT:
        right = round(trend.accuracy * texts)
        return Verdict(
            f"Solved: {right:,} of {texts:,} held-out texts are right, so this measure has little "
            "left to show.",
            (Advice.HOLD_OUT_MORE,),
        )
    if trend.accuracy is None and trend.best < _SOLVED * trend.setting.baseline_nats:
        return Verdict(
            "Solved: the held-out text is predicted almost without error. If it is not that "
            "simple, it repeats the training text.",
            (Advice.CHECK_TEXT,),
        )
    return None


def _too_short(trend: Trend) -> Verdict | None:
    count = len(trend.held_out)
    if count >= _MIN_VALIDATIONS:
        return None
    validations = "validation shows" if count == 1 else "validations show"
    return Verdict(f"Too short to judge: {count} {validations} no trend.", (Advice.LONGER,))


def _unsteady(trend: Trend) -> Verdict | None:
    if min(trend.largest_rises) <= _UNSTEADY:
        return None
    return Verdict(
        "Unsteady: the loss rose again, in training too, so the steps were too large.",
        (Advice.LOWER_RATE,),
    )


def _nothing_learnt(trend: Trend) -> Verdict | None:
    baseline = trend.setting.baseline_nats
    if trend.best <= _NOTHING * baseline:
        return None
    steady = trend.largest_rises[0] <= _UNSTEADY and trend.rise_since_best <= _AT_ITS_BEST
    if not steady:
        advice = Advice.LOWER_RATE
    elif trend.best > _ABOVE_GUESSING * baseline:  # on its way from chance to frequencies
        advice = Advice.HIGHER_RATE
    else:
        advice = Advice.OTHER_RATE
    return Verdict(
        "The network has learnt almost nothing: guessing by how often each answer occurs would "
        "do as well.",
        (advice, Advice.LONGER, Advice.CHECK_TEXT),
    )


def _memorized(trend: Trend) -> Verdict | None:
    if trend.rise_since_best <= _MEMORIZED or not trend.train_fell_since_best:
        return None
    setting = trend.setting
    return Verdict(
        f"Overfitting: after step {trend.best_step:,} the network memorized its text "
        f"({setting.parameters:,} parameters for {setting.train_tokens:,} symbols) and got worse "
        "on what is held out. best.pt is from that step, so nothing is lost.",
        (Advice.MORE_TEXT, Advice.DROPOUT),
    )


def _still_falling(trend: Trend) -> Verdict | None:
    if trend.rise_since_best > _AT_ITS_BEST or trend.gain_of_second_half <= _STILL_FALLING:
        return None
    advice = (Advice.LONGER, Advice.LARGER)
    return Verdict(
        f"Still learning: the held-out loss fell by {trend.gain_of_second_half:.1%} in the second "
        "half and was at its best at the end.",
        (*advice, Advice.MORE_TEXT) if trend.gap > _WIDE_GAP else advice,
    )


def _too_small(trend: Trend) -> Verdict | None:
    if trend.gap >= _GAP:
        return None
    advice = (Advice.LARGER, Advice.LONGER)
    return Verdict(
        "Underfitting: the loss no longer falls, and is as low on what is held out as in training, "
        "so the text holds more than this network can learn.",
        (*advice, Advice.LESS_DROPOUT) if trend.setting.dropout else advice,
    )


def _good_fit(trend: Trend) -> Verdict:
    return Verdict(
        "A good fit: the loss on what is held out is near its best and no longer falls, "
        f"{trend.gap:.0%} above that in training.",
        (Advice.MORE_TEXT, Advice.LARGER, Advice.DROPOUT),
    )
