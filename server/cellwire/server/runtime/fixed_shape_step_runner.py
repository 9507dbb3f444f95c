"""Runs step batches in few sizes, each with arrays at fixed addresses: on a card.

A batch is padded to one of these sizes. Its columns are packed into two arrays, so that they reach
a device in two copies; the chosen tokens and their log-probabilities are copied back. States and
logits stay on the device.

A run goes on while the host works. One at a time is on the card: a start first waits for the run
before and copies its results. ONNX Runtime can only wait for all that a card was given, so a second
run in its queue would be waited for with the first. What the host does between two runs is short:
the next batch is filled in before, and the results of the last one are committed after. Nothing is
written, then, that a run in flight reads or writes, and one binding of a size is enough.

The programs have no loop (see ProgramShape), so that they can be captured as CUDA graphs. There is
one for each variant, number of steps, and limit of top tokens; and of several steps, another one
for ragged batches.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import numpy as np

from cellwire.model_file.cell import Cell
from cellwire.server.batch.limits import MAX_TOP_K_ON_CARD
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.programs.step_program import ProgramShape
from cellwire.server.runtime.buffer import Buffer
from cellwire.server.runtime.device import Device, Execution
from cellwire.server.runtime.memory import Memory
from cellwire.server.runtime.required_sampler import power_of_two, required_sampler
from cellwire.server.runtime.started_step import StartedStep
from cellwire.server.runtime.step_binding import Allocate, StepBinding, StepPrograms, StepSize

SUPPORTED_STEPS = (1, 4, 16)

# Of top tokens to rank; above, the whole vocabulary is ranked.
_LIMITS = (0, 1, 16, 256, MAX_TOP_K_ON_CARD)
_CHANGES = (64, 16)  # the least number of logit changes, and the factor to the next


def max_top_k(device: Device, vocabulary: int) -> int | None:
    """Return the greatest top_k of a row on a device; None if there is no such limit.

    A card sorts more symbols row by row, and the host starts each sort.
    """
    few = vocabulary <= MAX_TOP_K_ON_CARD
    return None if device.is_host or few else MAX_TOP_K_ON_CARD


class FixedShapeStepRunner:
    """The step programs of fixed shapes, and a binding for each size."""

    def __init__(
        self,
        compiled: StepPrograms,
        arenas: Mapping[str, Buffer],
        cell: Cell,
        execution: Execution,
        max_batch: int,
        memory: Memory,
    ) -> None:
        """`compiled` returns a program of a fixed shape; NotCompiled."""
        self._compiled = compiled
        self._arenas = arenas
        self._cell = cell
        # Not a method of the runner, which the bindings would hold, and it them.
        self._allocate: Allocate = partial(_allocate_in, memory)
        self.overlaps = execution.captured
        self._in_flight: StartedStep | None = None
        self._only_rows = max_batch if execution.fixed_batch else None
        # Bounded: three numbers of steps, six limits, ragged or not, powers of two of rows, and of
        # 16 of changes.
        self._bindings: dict[StepSize, StepBinding] = {}

    def supported_steps(self, steps: int) -> int:
        """Return the largest supported number of steps up to `steps`."""
        return max(supported for supported in SUPPORTED_STEPS if supported <= steps)

    def padded_rows(self, rows: int) -> int:
        """Return the rows of the smallest size that `rows` rows fit in."""
        return self._only_rows or power_of_two(rows)

    def start(self, batch: StepBatch) -> StartedStep:
        """Start the run of a batch of a supported number of steps; NotCompiled, StepFailed."""
        binding = self.binding(self.size_of(batch))
        binding.fill(batch)
        self.finish()
        binding.start()
        self._in_flight = StartedStep(binding, batch)
        return self._in_flight

    def finish(self) -> None:
        """Wait for the run in flight, if there is one. Its result or failure is its own."""
        started, self._in_flight = self._in_flight, None
        if started is not None:
            started.finish()

    def step(self, batch: StepBatch) -> StepResult:
        """Run a batch of a supported number of steps; NotCompiled, StepFailed."""
        return self.start(batch).wait()

    def size_of(self, batch: StepBatch) -> StepSize:
        """Return the smallest size that a batch fits in."""
        variant, needed = required_sampler(batch, self._cell)
        vocabulary = self._cell.manifest.vocabulary.size
        limit = next((limit for limit in _LIMITS if needed <= limit <= vocabulary), vocabulary)
        adjustments = batch.adjustments
        changes = 0 if adjustments is None else _padded_changes(len(adjustments.row))
        rows = self.padded_rows(len(batch))
        return StepSize(variant, batch.steps, rows, limit, changes, batch.ragged)

    def binding(self, size: StepSize) -> StepBinding:
        """Return the binding for a size, made and captured on first use; NotCompiled."""
        if size not in self._bindings:
            self.finish()  # nothing else of this model runs during a capture
            self._bindings[size] = self._bind(size)
        return self._bindings[size]

    def _bind(self, size: StepSize) -> StepBinding:
        shape = ProgramShape(size.steps, size.limit)
        compiled = self._compiled(size.variant, shape, ragged=size.ragged)
        try:
            binding = StepBinding(
                compiled, self._arenas, self._cell, size, self._allocate, packed=True
            )
            binding.clear()  # the first run captures the program, which executes it several times
            binding.run()
        except (MemoryError, StepFailed) as error:  # only the trash slot is written so far
            raise NotCompiled(f"no room for {size.rows} rows: {error}") from error
        return binding

    def close(self) -> None:
        """Close all bindings, after the run in flight. No batch can be run then."""
        self.finish()
        for binding in self._bindings.values():
            binding.close()
        self._bindings.clear()


def _allocate_in(
    memory: Memory, _name: str, shape: tuple[int, ...], dtype: type[np.generic]
) -> Buffer:
    return memory.buffer(shape, dtype)


def _padded_changes(changes: int) -> int:
    """Return one of few numbers of logit changes: a repetition penalty adds one a token."""
    padded, factor = _CHANGES
    while padded < changes:
        padded *= factor
    return padded
