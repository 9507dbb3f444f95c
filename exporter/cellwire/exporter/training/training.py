"""The training loop: steps, with samples, validations and checkpoints between them."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, autograd

from cellwire.exporter.data.batches import Batch, make_batches
from cellwire.exporter.data.dataset import Dataset
from cellwire.exporter.data.plan import total_steps
from cellwire.exporter.errors import RunError, TrainingError
from cellwire.exporter.network.cell import State
from cellwire.exporter.network.network import Network
from cellwire.exporter.runs.checkpoint import Checkpoint, Pause
from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.runs.progress import Progress
from cellwire.exporter.runs.run_config import RunConfig
from cellwire.exporter.runs.run_folder import LAST, METRICS, SAMPLES, STOPPED, RunFolder
from cellwire.exporter.training.checkpoint_span import CheckpointSpan
from cellwire.exporter.training.compute import CPU, Compute
from cellwire.exporter.training.evaluation import evaluate
from cellwire.exporter.training.loss import compute_loss
from cellwire.exporter.training.memory import check_memory
from cellwire.exporter.training.optimizer import clip_gradients, make_optimizer, rate_factor
from cellwire.exporter.training.sampler import Sampler, prompts_for

REPORT_EVERY_S = 0.1


class Training:
    """One training: its network, its optimizer and its position in the text."""

    def __init__(
        self, run_folder: RunFolder, config: RunConfig, dataset: Dataset, compute: Compute = CPU
    ) -> None:
        self.run_folder = run_folder
        self.config = config
        self.dataset = dataset
        self._settings = config.recipe.run
        self._compute = compute
        self._batches = make_batches(dataset, config.recipe)
        self.steps = total_steps(self._settings, self._batches.epoch_steps)
        prompts = prompts_for(self._settings, dataset)
        self._sampler = Sampler(dataset.vocabulary, prompts, self._settings)
        check_memory(config.shape, self._compute.device)
        self._compute.set_products()
        torch.manual_seed(self._settings.seed)
        self.network = Network(config.shape).to(self._compute.device)
        if config.recipe.network.input == "vectors" and config.recipe.network.freeze_vectors:
            self.network.embedding.requires_grad_(requires_grad=False)
        self._trainable = [p for p in self.network.parameters() if p.requires_grad]
        self._optimizer = make_optimizer(config.recipe.optimizer, self._trainable)
        self.step = 0
        self.best_loss: float | None = None
        self._checkpoint_step = 0
        self._pause: Pause | None = None  # to go on from

    def set_embedding(self, table: Tensor) -> None:
        """Set the initial embedding, float32 `[vocabulary, width]`."""
        with torch.no_grad():
            next(self.network.embedding.parameters()).copy_(table)

    def load_weights(self, run: RunFolder) -> None:
        """Set the initial weights to the best of another run of the same symbols, labels and size.

        The optimizer is not loaded. RunError if the weights do not fit.
        """
        network, _ = run.load_network()
        try:
            self.network.load_state_dict(network.state_dict())
        except RuntimeError as error:
            raise RunError(f"{run.path} holds a network of another size") from error

    def resume(self) -> bool:
        """Continue from where the run was left; False if it has nothing to continue from."""
        newest = self.run_folder.load_newest()
        if newest is None:
            return False
        try:
            self.network.load_state_dict(newest.model)
            self._optimizer.load_state_dict(newest.optimizer)
        except (RuntimeError, ValueError, KeyError) as error:
            name = STOPPED if isinstance(newest, Pause) else LAST
            raise self.run_folder.mismatch(name) from error
        self.run_folder.truncate_logs(newest.log_bytes)
        self.step, self.best_loss = newest.step, newest.best_loss
        self._checkpoint_step = newest.checkpoint_step
        self._pause = newest if isinstance(newest, Pause) else None
        return True

    @property
    def is_finished(self) -> bool:
        """Whether the last step has been taken."""
        return self.step >= self.steps

    def run(
        self,
        on_progress: Callable[[Progress], None],
        on_sample: Callable[[str], None] = lambda _: None,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        """Train to the end; sample, validate and save as often as the recipe says.

        `on_progress` is called at every checkpoint and ten times a second between them, `on_sample`
        with every sample. `is_stopped` is asked after every step: if it is true, the training is
        saved as it is, for `resume`, and ends. TrainingError if a loss is not finite, RunError or
        FileError if the run folder cannot be written; earlier checkpoints stay.
        """
        sample_every = self._batches.epoch_steps * (self._settings.sample_every or 0)
        span, state = self._begin_span()
        reported_s = time.perf_counter()
        for batch in self._remaining_batches():
            state = self._train_on(batch, state if batch.carries_state else None, span)
            if self._is_due(sample_every):
                self._sample(on_sample)
            if self._is_due(self._settings.validate_every or 1):
                on_progress(self._validate_and_save(span))
                # State and dropout start afresh after every checkpoint, so that a resumed training
                # computes the same numbers as one that was never interrupted.
                span, state = self._begin_span()
            elif time.perf_counter() - reported_s >= REPORT_EVERY_S:
                on_progress(self._progress(span, self._check_finite(span.recent_mean)))
                reported_s = time.perf_counter()
            if is_stopped():
                self._save_pause(span, state)
                return

    def _begin_span(self) -> tuple[CheckpointSpan, State | None]:
        """Return the steps since the last checkpoint, and the state after them: that of a pause."""
        span, pause = CheckpointSpan(self._settings.seed, self._checkpoint_step), self._pause
        if pause is None:
            return span, None
        self._pause = None
        span.load_state_dict(pause.span, self._compute.device)
        return span, tuple(part.to(self._compute.device) for part in pause.state)

    def _save_pause(self, span: CheckpointSpan, state: State | None) -> None:
        """Save the training between two checkpoints; right after one, there is nothing to save."""
        if state is None:
            return
        self._check_finite(span.mean)
        self.run_folder.save_pause(
            Pause(
                step=self.step,
                checkpoint_step=self._checkpoint_step,
                best_loss=self.best_loss,
                model=self.network.state_dict(),
                optimizer=self._optimizer.state_dict(),
                log_bytes=self.run_folder.log_bytes(),
                state=state,
                span=span.state_dict(self._compute.device),
            )
        )

    def _is_due(self, interval_steps: int) -> bool:
        """Whether an interval, or the training, has just ended; never for an interval of 0."""
        at_end = self.step == self.steps
        return bool(interval_steps) and (self.step % interval_steps == 0 or at_end)

    def _remaining_batches(self) -> Iterator[Batch]:
        """Yield the batches from the current step to the last."""
        epoch, first = divmod(self.step, self._batches.epoch_steps)
        while self.step < self.steps:
            for batch in self._batches.epoch(epoch, first):
                yield batch
                if self.step == self.steps:
                    return
            epoch, first = epoch + 1, 0

    def _train_on(self, batch: Batch, state: State | None, span: CheckpointSpan) -> State:
        """Take one optimizer step; return the state after the batch, detached."""
        batch = batch.to(self._compute.device)
        with self._compute.autocast():
            batch_loss = compute_loss(self.network, batch, state)
        self._optimizer.zero_grad()
        autograd.backward(batch_loss.loss)
        clip_gradients(self.config.recipe.optimizer, self._trainable)
        for group in self._optimizer.param_groups:
            group["lr"] = self._learning_rate()
        self._optimizer.step()
        self.step += 1
        span.add(batch_loss, batch.inputs.numel())
        return tuple(part.detach() for part in batch_loss.state)

    def _learning_rate(self) -> float:
        """Return the learning rate of the next step."""
        settings = self.config.recipe.optimizer
        factor = rate_factor(settings, self.step, self.steps, self._batches.epoch_steps)
        return settings.learning_rate * factor

    def _check_finite(self, measure: Measure) -> Measure:
        """Return `measure`; TrainingError if its loss is not finite."""
        if measure.is_finite:
            return measure
        good = "there is no checkpoint from before it happened"
        if self.run_folder.has(LAST):
            path = self.run_folder.path / LAST
            good = f"the last good checkpoint is {path} (step {self._checkpoint_step:,})"
        raise TrainingError(
            f"the loss is {measure.nats} at step {self.step:,}: training diverged. {good}. Start "
            "again with a lower --learning-rate"
        )

    def _sample(self, on_sample: Callable[[str], None]) -> None:
        """Generate samples, and log them."""
        for text in self._sampler.sample(self.network, self.step, self._compute.device):
            self.run_folder.append_log(SAMPLES, f"--- step {self.step:,}\n{text}\n\n")
            on_sample(text)

    def _validate_and_save(self, span: CheckpointSpan) -> Progress:
        """Evaluate the network; log a line of metrics, and save a checkpoint."""
        train = self._check_finite(span.mean)
        validation = evaluate(self.network, self.dataset.validation, self._compute.device)
        measure = self._check_finite(validation or train)
        best_loss = math.inf if self.best_loss is None else self.best_loss
        self.best_loss = min(measure.nats, best_loss)
        progress = self._progress(span, train, validation, checkpoint=True)
        self.run_folder.append_log(METRICS, json.dumps(progress.to_line()) + "\n")
        checkpoint = self._checkpoint(measure, self.best_loss, held_out=validation is not None)
        self.run_folder.save(checkpoint, keep=self._is_kept())
        self._checkpoint_step = self.step
        return progress

    def _checkpoint(self, measure: Measure, best_loss: float, *, held_out: bool) -> Checkpoint:
        return Checkpoint(
            step=self.step,
            loss=measure.nats,
            best_loss=best_loss,
            accuracy=measure.accuracy,
            held_out=held_out,
            model=self.network.state_dict(),
            optimizer=self._optimizer.state_dict(),
            log_bytes=self.run_folder.log_bytes(),
        )

    def _is_kept(self) -> bool:
        """Whether the current checkpoint is kept for good."""
        interval_steps = (self._settings.validate_every or 1) * self._settings.keep_every
        return bool(interval_steps) and self.step % interval_steps == 0

    def _progress(
        self,
        span: CheckpointSpan,
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
            tokens_per_s=span.tokens_per_s,
            learning_rate=self._optimizer.param_groups[0]["lr"],
            checkpoint=checkpoint,
        )
