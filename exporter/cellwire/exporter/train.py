"""The training loop: consecutive windows, state carried across them, AdamW, one cosine cycle."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR

from cellwire.exporter.cells import CharacterLstm, LstmState
from cellwire.exporter.corpus import Ids, Split, Windows
from cellwire.exporter.errors import RunError, TrainingError
from cellwire.exporter.plan import Plan
from cellwire.exporter.run import LAST, Checkpoint, Progress, Run, RunConfig

WARM_UP_SHARE = 0.05
FINAL_RATE_SHARE = 0.01
VALIDATION_WINDOWS = Windows(lanes=4, window=256)


def learning_rate_share(step: int, steps: int) -> float:
    """Return the share of the peak rate at `step`: a linear warm-up, then half a cosine."""
    warm_up = max(1, round(steps * WARM_UP_SHARE))
    if step < warm_up:
        return (step + 1) / warm_up
    done = (step - warm_up) / max(1, steps - warm_up)
    return FINAL_RATE_SHARE + (1 - FINAL_RATE_SHARE) * 0.5 * (1 + math.cos(math.pi * done))


def validation_bpc(model: CharacterLstm, ids: Ids) -> float:
    """Return the bits per character of `ids` int64 `[n]`, the state carried from start to end.

    The text is cut into four lanes that each start from a zero state, so the figure is, if
    anything, a little worse than that of one unbroken pass.
    """
    windows = Windows.fitting(
        len(ids), VALIDATION_WINDOWS.lanes, min(VALIDATION_WINDOWS.window, len(ids) - 1)
    )
    state: LstmState | None = None
    nats, chars = 0.0, 0
    model.eval()
    with torch.no_grad():
        for inputs, targets in windows.cut(ids):
            logits, state = model(torch.from_numpy(inputs), state)
            flat = torch.from_numpy(targets).flatten()
            nats += cross_entropy(logits.flatten(0, 1), flat, reduction="sum").item()
            chars += targets.size
    model.train()
    return nats / chars / math.log(2)


class Training:
    """One training run: model, optimizer, schedule and the place in the text."""

    def __init__(self, run: Run, config: RunConfig, split: Split) -> None:
        self._run = run
        self._config = config
        self._split = split
        self._plan = Plan.fitting(len(split.train), config.lanes, config.window, config.epochs)
        torch.manual_seed(config.seed)
        self.model = CharacterLstm(config.shape)
        self._optimizer = AdamW(
            self.model.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay
        )
        self.steps = self._plan.steps
        self._schedule = LambdaLR(
            self._optimizer, lambda step: learning_rate_share(step, self.steps)
        )
        self.step = 0
        self.best_bpc: float | None = None

    def start_from(self, run: Run) -> None:
        """Begin with the best weights of another run, of the same symbols and size.

        Optimizer and schedule start afresh. Raises RunError when the weights do not fit.
        """
        if run.config.symbols != self._config.symbols:
            raise RunError(f"{run.path} has learnt other symbols than this text has")
        model, _ = run.best_model()
        try:
            self.model.load_state_dict(model.state_dict())
        except RuntimeError as error:
            raise RunError(f"{run.path} holds a model of another size") from error

    def resume(self) -> None:
        """Go on from the run's last checkpoint; from the start if it has none yet."""
        if not self._run.has(LAST):
            if self._config.start_from is not None:
                self.start_from(Run.open(Path(self._config.start_from)))
            return
        checkpoint = self._run.load(LAST)
        try:
            self.model.load_state_dict(checkpoint.model)
            self._optimizer.load_state_dict(checkpoint.optimizer)
            self._schedule.load_state_dict(checkpoint.schedule)
        except (RuntimeError, ValueError) as error:
            raise self._run.mismatch(LAST) from error
        self.step, self.best_bpc = checkpoint.step, checkpoint.best_bpc

    def run(self, report: Callable[[Progress], None]) -> None:
        """Train to the end; validate and save a checkpoint as often as the run's config says.

        Raises TrainingError when a loss is no longer a number, RunError or FileError when the run
        folder cannot be written; the checkpoints before that stay.
        """
        state: LstmState | None = None
        leg = Leg(self._config.seed, self.step)
        for inputs, targets, starts_epoch in self._batches():
            loss, state = self._train_on(inputs, targets, None if starts_epoch else state)
            leg.add(loss, inputs.numel())
            report(self._progress(leg.recent_bpc, leg.chars_per_s, None))
            if self.step % self._config.validate_every == 0 or self.step == self.steps:
                report(self._validate_and_save(leg))
                # State and dropout start afresh after every checkpoint, so that a resumed run
                # goes through the same numbers as one that was never stopped.
                state, leg = None, Leg(self._config.seed, self.step)

    def _batches(self) -> Iterator[tuple[Tensor, Tensor, bool]]:
        """Yield inputs, targets `[lanes, window]` and whether an epoch starts, from `step` on."""
        plan = self._plan
        first_epoch, first_window = divmod(self.step, plan.epoch_steps)
        for epoch in range(first_epoch, plan.epochs):
            start = np.random.default_rng((self._config.seed, epoch)).integers(plan.jitter)
            ids = self._split.train[start : start + plan.epoch_chars]
            for inputs, targets in plan.windows.cut(ids, first_window):
                yield torch.from_numpy(inputs), torch.from_numpy(targets), first_window == 0
                first_window = -1
            first_window = 0

    def _train_on(
        self, inputs: Tensor, targets: Tensor, state: LstmState | None
    ) -> tuple[float, LstmState]:
        """Take one optimizer step; return the loss in nats and the state after, detached."""
        logits, (h, c) = self.model(inputs, state)
        loss = cross_entropy(logits.flatten(0, 1), targets.flatten())
        self._check_finite(loss.item())
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self.model.parameters(), self._config.clip_norm)
        self._optimizer.step()
        self._schedule.step()
        self.step += 1
        return loss.item(), (h.detach(), c.detach())

    def _check_finite(self, loss: float) -> None:
        if not math.isfinite(loss):
            raise TrainingError(
                f"the loss is {loss} at step {self.step}: training diverged. "
                f"Start again with a lower --learning-rate; checkpoints in {self._run.path}, if "
                "there are any, are from before it happened"
            )

    def _validate_and_save(self, leg: Leg) -> Progress:
        """Measure the held-out loss, write the checkpoint and a line of metrics."""
        validation = validation_bpc(self.model, self._split.validation)
        self._check_finite(validation)
        self.best_bpc = validation if self.best_bpc is None else min(validation, self.best_bpc)
        progress = self._progress(leg.mean_bpc, leg.chars_per_s, validation)
        self._run.save(
            Checkpoint(
                step=self.step,
                validation_bpc=validation,
                best_bpc=self.best_bpc,
                model=self.model.state_dict(),
                optimizer=self._optimizer.state_dict(),
                schedule=self._schedule.state_dict(),
            )
        )
        self._run.log(progress)
        return progress

    def _progress(self, train_bpc: float, chars_per_s: float, validation: float | None) -> Progress:
        return Progress(self.step, self.steps, train_bpc, validation, self.best_bpc, chars_per_s)


class Leg:
    """The stretch of training from one checkpoint to the next, and its running figures."""

    def __init__(self, seed: int, step: int) -> None:
        torch.manual_seed(seed * 1_000_003 + step)
        self._losses: list[float] = []
        self._chars = 0
        self._started_s = time.perf_counter()

    def add(self, loss: float, chars: int) -> None:
        """Count one step with its loss in nats."""
        self._losses.append(loss)
        self._chars += chars

    @property
    def mean_bpc(self) -> float:
        """Bits per character over the whole leg."""
        return sum(self._losses) / len(self._losses) / math.log(2)

    @property
    def recent_bpc(self) -> float:
        """Bits per character over the last few steps."""
        recent = self._losses[-20:]
        return sum(recent) / len(recent) / math.log(2)

    @property
    def chars_per_s(self) -> float:
        """Characters trained on per second since the leg began."""
        return self._chars / (time.perf_counter() - self._started_s)
