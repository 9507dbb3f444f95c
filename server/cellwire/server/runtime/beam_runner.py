"""Runs beam batches: searches of one width, several steps at a time."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from cachetools import LRUCache

from cellwire.server.batch.beam_step import BeamBatch, BeamBatchResult
from cellwire.server.batch.completion_end import CompletionEnd
from cellwire.server.errors import NotCompiled, StepFailed
from cellwire.server.programs.beam_program import BeamProgram
from cellwire.server.runtime.beam_binding import BeamBinding, BeamSize, EndMasks
from cellwire.server.runtime.buffer import Buffer
from cellwire.server.runtime.compiled import Compiled

_MAX_BINDINGS = 64
_MAX_ENDS = 64


class BeamRunner:
    """The beam programs, and bindings for the sizes that were used last."""

    def __init__(
        self,
        compiled: Callable[[BeamProgram], Compiled],
        arenas: Mapping[str, Buffer],
        vocabulary: int,
        *,
        unrolled: bool = False,
    ) -> None:
        """`compiled` returns a program; NotCompiled. Programs are `unrolled` for a card."""
        self._compiled = compiled
        self._arenas = arenas
        self._vocabulary = vocabulary
        self._unrolled = unrolled
        self._bindings = LRUCache[BeamSize, BeamBinding](_MAX_BINDINGS)
        self._masks = LRUCache[CompletionEnd, EndMasks](_MAX_ENDS)

    def step(self, batch: BeamBatch) -> BeamBatchResult:
        """Run a batch; NotCompiled, StepFailed."""
        may_end = any(end.tokens for end in batch.endings)
        ends = list(dict.fromkeys(batch.endings)) if may_end else []
        program = BeamProgram(may_end, batch.steps if self._unrolled else None)
        beams, width = batch.token.shape
        binding = self._binding(BeamSize(program, batch.steps, beams, width, len(ends)))
        binding.fill(batch)
        if may_end:
            masks = [self._masks_of(end) for end in ends]
            binding.fill_ends(batch, masks, [ends.index(end) for end in batch.endings])
        binding.run()
        return binding.result()

    def close(self) -> None:
        """Close all bindings. No batch can be run then."""
        for binding in self._bindings.values():
            binding.close()
        self._bindings.clear()

    def _binding(self, size: BeamSize) -> BeamBinding:
        """Return the binding for a size, made on first use; NotCompiled."""
        if size not in self._bindings:
            compiled = self._compiled(size.program)
            try:
                self._bindings[size] = BeamBinding(compiled, self._arenas, size, self._vocabulary)
            except (MemoryError, StepFailed) as error:
                raise NotCompiled(f"there is no room for searches: {error}") from error
        return self._bindings[size]

    def _masks_of(self, end: CompletionEnd) -> EndMasks:
        if end not in self._masks:
            tokens = range(self._vocabulary)
            self._masks[end] = EndMasks(
                np.array([token in (end.tokens or ()) for token in tokens]),
                np.array([end.may_follow(token) for token in tokens]),
            )
        return self._masks[end]
