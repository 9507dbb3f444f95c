"""What a daemon is started with."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from cellwire.model_file.cell import BUILT_IN_MODEL
from cellwire.server.runtime.device import Provider
from cellwire.server.session.operation_queue import Limits
from cellwire.server.session.operations import MAX_BEAM_WIDTH
from cellwire.server.state.rewind_window import DEFAULT_WINDOW, slots_for

# A message may be larger than the largest append, so that an append that is too long is refused by
# us, and alone, not by gRPC together with its stream.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


def _cores_for_steps() -> int:
    """Return how many cores this process may use, less one for everything but the steps."""
    cores = (
        len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    )
    return max(1, cores - 1)


@dataclass(frozen=True, slots=True)
class Config:
    """The daemon's settings."""

    listen: str = "127.0.0.1:50051"
    models: tuple[Path, ...] = (BUILT_IN_MODEL,)
    model_folder: Path | None = None  # where clients may load further models from
    sessions: int = 4096  # of each model
    max_slots: int | None = None  # states of each model; None for as many as all sessions need
    max_batch: int = 256
    threads: int = field(default_factory=_cores_for_steps)  # for one step, of the CPU provider
    provider: Provider = "auto"
    device: int = 0  # the CUDA card's number
    fixed_batch: bool = False  # whether every batch is filled up to max_batch
    drain_timeout_s: float = 10.0
    limits: Limits = field(default_factory=Limits)

    @property
    def slots(self) -> int:
        """How many states of each model there is to be room for.

        Unless fewer were asked for, all sessions' of the usual rewind window, and two steps of
        beams'.
        """
        widest_step = max(self.max_batch, MAX_BEAM_WIDTH)
        return self.max_slots or self.sessions * slots_for(DEFAULT_WINDOW) + 2 * widest_step
