"""The steps from one checkpoint to the next."""

from __future__ import annotations

import time
from typing import Any

import torch
from torch import Tensor

from cellwire.exporter.runs.measure import Measure
from cellwire.exporter.training.loss import BatchLoss

_RECENT_STEPS = 20


class CheckpointSpan:
    """Seeds torch for the steps after a checkpoint, and averages their losses.

    Losses stay on the device until a mean is requested: on a GPU, reading one waits for all work
    before it.
    """

    def __init__(self, seed: int, step: int) -> None:
        torch.manual_seed(seed * 1_000_003 + step)
        self._losses: list[Tensor] = []
        self._accuracies: list[Tensor] = []
        self._tokens = 0
        self._started_s = time.perf_counter()

    def add(self, batch_loss: BatchLoss, tokens: int) -> None:
        """Count one step."""
        self._losses.append(batch_loss.loss.detach())
        if batch_loss.accuracy is not None:
            self._accuracies.append(batch_loss.accuracy)
        self._tokens += tokens

    def state_dict(self, device: torch.device) -> dict[str, Any]:
        """Return all that the span has so far, and torch's generators, as tensors and numbers."""
        generators = {"cpu": torch.get_rng_state()}
        if device.type == "cuda":
            generators["cuda"] = torch.cuda.get_rng_state(device)
        return {
            "losses": torch.stack(self._losses),  # [steps]
            "accuracies": torch.stack(self._accuracies) if self._accuracies else torch.empty(0),
            "tokens": self._tokens,
            "duration_s": time.perf_counter() - self._started_s,
            "generators": generators,
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Go on from `state`: on the CPU bit for bit, as if the span had not been cut."""
        self._losses = list(state["losses"].to(device))
        self._accuracies = list(state["accuracies"].to(device))
        self._tokens = state["tokens"]
        self._started_s = time.perf_counter() - state["duration_s"]
        torch.set_rng_state(state["generators"]["cpu"])
        if device.type == "cuda" and "cuda" in state["generators"]:
            torch.cuda.set_rng_state(state["generators"]["cuda"], device)

    @property
    def mean(self) -> Measure:
        """The mean over the whole span."""
        accuracy = _mean(self._accuracies) if self._accuracies else None
        return Measure(_mean(self._losses), accuracy)

    @property
    def recent_mean(self) -> Measure:
        """The mean over the last few steps."""
        accuracies = self._accuracies[-_RECENT_STEPS:]
        accuracy = _mean(accuracies) if accuracies else None
        return Measure(_mean(self._losses[-_RECENT_STEPS:]), accuracy)

    @property
    def tokens_per_s(self) -> float:
        """Tokens trained on per second since the span began."""
        return self._tokens / (time.perf_counter() - self._started_s)


def _mean(values: list[Tensor]) -> float:
    return torch.stack(values).double().mean().item()
