"""A step in plain torch: the cell, softmax and a draw."""

from __future__ import annotations

from collections.abc import Callable

import torch
from tests.bench.models import network

from cellwire.exporter.training.compute import Compute
from cellwire.server.runtime.device import Device


def torch_step(size: str, batch: int, device: Device) -> Callable[[], None]:
    """Return a step of the same cell and numbers, whose tokens come to the host.

    torch computes its products in full float32, as the daemon does, for the rest of the process.
    """
    place = torch.device(f"{device.kind}:{device.number}")
    Compute(place, "float32").set_products()
    model = network(size).to(place)
    tokens = torch.zeros(batch, 1, dtype=torch.int64, device=place)
    state = None

    def step() -> None:
        nonlocal tokens, state
        with torch.inference_mode():
            logits, state = model(tokens, state)
            tokens = torch.multinomial(torch.softmax(logits[:, -1], dim=1), 1)
        tokens.cpu()

    return step
