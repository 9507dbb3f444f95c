"""What a daemon is started with."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from cellwire.server.session import Limits

BUILT_IN_MODEL = Path(__file__).parent / "models" / "austen.onnx"

# A message may be larger than the largest append, so that an append that is too long is refused by
# us, and alone, not by gRPC together with its stream.
MAX_MESSAGE_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Config:
    """The daemon's settings."""

    listen: str = "127.0.0.1:50051"
    models: tuple[Path, ...] = (BUILT_IN_MODEL,)
    sessions: int = 4096  # of each model
    max_batch: int = 256
    threads: int = 0  # for one step; 0 is one for each core
    drain_timeout_s: float = 10.0
    limits: Limits = field(default_factory=Limits)
