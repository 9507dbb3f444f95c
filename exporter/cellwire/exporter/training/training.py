"""The training loop: steps and, now and then, a sample, a validation, a checkpoint."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, autograd

from cellwire.exporter.data.batches import Batch, batches_of
from cellwire.exporter.data.dataset import Dataset
from cellwire.exporter.data.plan import total_steps
from cellwire.exporter.errors import RunError, TrainingError
from cellwire.exporter.network.cell import State
from cellwire.exporter.network.network import Network
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.runs.progress import Progress
from cellwire.exporter.runs.run_config import RunConfig
from cellwire.exporter.runs.run_folder import LAST, METRICS, SAMPLES, Checkpoint, Run
from cellwire.exporter.training.checkpoint_span import Leg
from cellwire.exporter.training.compute import CPU, Compute
from cellwire.exporter.training.loss import attempt, validated
from cellwire.exporter.training.optimizer import clip_gradients, make_optimizer, rate_share
from cellwire.exporter.training.sample import Sampler, prefixes_for

REPORT_EVERY_S = 0.1


class Training:
    """One training run: network, optimizer, and the place in the text."""

    def __init__(
        self, run: Run, config: RunConfig, dataset: Dataset, compute: Compute = CPU
    ) -> None:
        self.run_folder = run
        self.config = config
        self._settings = config.recipe.run
        self._compute = compute
        self.dataset = dataset
        self._batches = batches_of(dataset, config.recipe)
        self.steps = total_steps(self._settings, self._batches.epoch_steps)
        self._sampler = Sampler(
            dataset.vocabulary, prefixes_for(self._settings, dataset), self._settings
        )
        torch.manual_seed(self._settings.seed)
        self.network = Network(config.shape).to(self._compute.device)
        if config.recipe.network.input == "vectors" and config.recipe.network.freeze_vectors:
            self.network.embedding.requires_grad_(requires_grad=False)
        self._learning = [p for p in self.network.parameters() if p.requires_grad]
        self._optimizer = make_optimizer(config.recipe.optimizer, self._learning)
        self.step = 0
        self.best_loss: float | None = None
        self._saved = 0

    def start_with(self, table: Tensor) -> None:
        """Begin with an embedding float32 `[vocabulary, width]`."""
        with torch.no_grad():
            next(self.network.embedding.parameters()).copy_(table)

    def start_from(self, run: Run) -> None:
        """Begin with the best weights of another run, of the same symbols, labels and size.

        The optimizer starts afresh. Raises RunError when the weights do not fit.
        """
        other = run.config
        if (other.vocabulary, other.labels) != (self.config.vocabulary, self.config.labels):
            raise RunError(f"{run.path} has learnt other symbols or labels than this text has")
        if other.recipe.network.cell != self.config.recipe.network.cell:
            raise RunError(f"{run.path} holds another kind of cell: {other.recipe.network.cell}")
        network, _ = run.best_model()
        try:
            self.network.load_state_dict(network.state_dict())
        except RuntimeError as error:
            raise RunError(f"{run.path} holds a network of another size") from error

    def resume(self) -> None:
        """Go on from the run's last checkpoint."""
        checkpoint = self.run_folder.load(LAST)
        try:
            self.network.load_state_dict(checkpoint.model)
            self._optimizer.load_state_dict(checkpoint.optimizer)
        except (RuntimeError, ValueError) as error:
            raise self.run_folder.mismatch(LAST) from error
        self.run_folder.cut_logs(checkpoint.log_bytes)
        self.step = self._saved = checkpoint.step
        self.best_loss = checkpoint.best_loss

    def run(
        self, report: Callable[[Progress], None], tell: Callable[[str], None] = lambda _: None
    ) -> None:
        """Train to the end; sample, validate and save as often as the recipe says.

        `report` is told of every checkpoint and, ten times a second, of how it goes; `tell` is
        given every sample. Raises TrainingError when a loss is no longer a number, RunError or
        FileError when the run folder cannot be written; the checkpoints before that stay.
        """
        state: State | None = None
        leg, reported_s = Leg(self._settings.seed, self.step), time.perf_counter()
        for batch in self._steps():
            state = self._train_on(batch, state if batch.goes_on else None, leg)
            if self._at_end_of(self._batches.epoch_steps * (self._settings.sample_every or 0)):
                self._sample(tell)
            if self._at_end_of(self._settings.validate_every or 1):
                report(self._validate_and_save(leg))
                # State and dropout start afresh after every checkpoint, so that a resumed run
                # goes through the same numbers as one that was never stopped.
                state, leg = None, Leg(self._settings.seed, self.step)
            elif time.perf_counter() - reported_s >= REPORT_EVERY_S:
                report(self._progress(leg, self._checked(leg.recent)))
                reported_s = time.perf_counter()

    def _at_end_of(self, steps: int) -> bool:
        """Whether so many steps have just ended, or the training; never, if they are none."""
        return bool(steps) and (self.step % steps == 0 or self.step == self.steps)

    def _steps(self) -> Iterator[Batch]:
        """Yield the batches from `step` on, to the last step."""
        epoch, first = divmod(self.step, self._batches.epoch_steps)
        while self.step < self.steps:
            for batch in self._batches.epoch(epoch, first):
                yield batch
                if self.step == self.steps:
                    return
            epoch, first = epoch + 1, 0

    def _train_on(self, batch: Batch, state: State | None, leg: Leg) -> State:
        """Take one optimizer step; return the state after it, detached."""
        settings = self.config.recipe.optimizer
        batch = batch.to(self._compute.device)
        with self._compute.autocast():
            outcome = attempt(self.network, batch, state)
        self._optimizer.zero_grad()
        autograd.backward(outcome.loss)
        clip_gradients(settings, self._learning)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self._optimizer.step()
        self.step += 1
        leg.add(outcome, batch.inputs.numel())
        return tuple(part.detach() for part in outcome.state)

    def _learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        settings = self.config.recipe.optimizer
        share = rate_share(settings, self.step, self.steps, self._batches.epoch_steps)
        return settings.learning_rate * share

    def _checked(self, measure: Measure) -> Measure:
        """Return `measure`; TrainingError if it is not a number."""
        if measure.finite:
            return measure
        good = "there is no checkpoint from before it happened"
        if self.run_folder.has(LAST):
            good = (
                f"the last good checkpoint is {self.run_folder.path / LAST} (step {self._saved:,})"
            )
        raise TrainingError(
            f"the loss is {measure.nats} at step {self.step:,}: training diverged. {good}. Start "
            "again with a lower --learning-rate"
        )

    def _sample(self, tell: Callable[[str], None]) -> None:
        """Have the network write, and keep it."""
        for text in self._sampler.write(self.network, self.step, self._compute.device):
            self.run_folder.log(SAMPLES, f"--- step {self.step:,}\n{text}\n\n")
            tell(text)

    def _validate_and_save(self, leg: Leg) -> Progress:
        """Measure the held-out loss; write a line of metrics, and the checkpoint."""
        train = self._checked(leg.whole)
        validation = validated(self.network, self.dataset.validation, self._compute.device)
        counts = self._checked(validation or train)
        self.best_loss = min(counts.nats, math.inf if self.best_loss is None else self.best_loss)
        progress = self._progress(leg, train, validation, checkpoint=True)
        self.run_folder.log(METRICS, json.dumps(progress.line()) + "\n")
        self.run_folder.save(
            Checkpoint(
                step=self.step,
                loss=counts.nats,
                best_loss=self.best_loss,
                accuracy=counts.accuracy,
                held_out=validation is not None,
                model=self.network.state_dict(),
                optimizer=self._optimizer.state_dict(),
                log_bytes=self.run_folder.log_bytes(),
            ),
            keep=self._is_kept(),
        )
        self._saved = self.step
        return progress

    def _is_kept(self) -> bool:
        """Whether this checkpoint is one of those to be kept for good."""
        every = (self._settings.validate_every or 1) * self._settings.keep_every
        return bool(every) and self.step % every == 0

    def _progress(
        self,
        leg: Leg,
        train: Measure,
        validation: Measure | None = None,
        *,
        checkpoint: bool = False,
    ) -> Progress:
        return Progress(
            step=self.step,
            steps=self.steps,
            train=train,
            validation=validation,
            best_loss=self.best_loss,
            symbols_per_s=leg.symbols_per_s,
            learning_rate=self._optimizer.param_groups[0]["lr"],
            checkpoint=checkpoint,
        )
