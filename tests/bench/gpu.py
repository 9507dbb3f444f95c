"""gpu: multi-step runs on a CUDA card, beside the bound of its bandwidth and a loop in torch.

Run by name only: `python -m tests.bench all` leaves it out, since most machines have no card. A run
has sixteen steps, and a step's time is a sixteenth of the run's, copies to and from the card
included.

gpu.step_us.<model>.<batch>            one step of a batch, replayed as a CUDA graph
gpu.step_us_plain.<model>.<batch>      the same program, launched kernel by kernel
gpu.step_us_torch.<model>.<batch>      torch: a step of the same cell, and a draw
gpu.host_us.<model>.<batch>            step_us without the replay: copies, and Python
gpu.weights_us.<model>                 reading all weights once, at a copy's bandwidth
gpu.tokens_per_s.<model>.<batch>       rows / step_us
gpu.same_bits.<model>.<batch>          the share of rows with the same bits as alone
gpu.served_tokens_per_s.<model>.<n>    <n> sessions over gRPC
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tests.bench.child import daemon, serving
from tests.bench.figures import names
from tests.bench.fixed_shape_stepping import FixedShapeStepping
from tests.bench.load import measured
from tests.bench.models import network
from tests.bench.pace import figure, in_turns, runs_per_s
from tests.bench.setting import Setting

from cellwire.server.runtime.cuda import find_card
from cellwire.server.runtime.device import Device, Execution
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS

SIZES = ("L", "XL")
BATCHES = (1, 8, 64, 256, 512)
SESSIONS = (1, 64, 512)
STEPS = max(SUPPORTED_STEPS)

FIGURES = (
    *names("gpu", ("step_us", "step_us_plain", "step_us_torch", "host_us"), SIZES, BATCHES),
    *names("gpu", ("tokens_per_s", "same_bits"), SIZES, BATCHES),
    *names("gpu", ("weights_us",), SIZES),
    *names("gpu", ("served_tokens_per_s",), ("L",), SESSIONS),
)

_COPIED_BYTES = 2**28  # more than any cache holds
_US = 1e6


def run(
    setting: Setting,
    sizes: Sequence[str] = SIZES,
    batches: Sequence[int] = BATCHES,
    sessions: Sequence[int] = SESSIONS,
    device: Device | None = None,
) -> dict[str, float]:
    """Measure on the first card; NoCuda if there is none."""
    if device is None:
        card = find_card(0)
        setting.say(f"gpu: {card.name}")
        device = Device("cuda", card.number)
    bytes_per_s = _bandwidth(device)
    figures: dict[str, float] = {}
    for size in sizes:
        weights = sum(p.numel() * p.element_size() for p in network(size).parameters())
        figures[f"gpu.weights_us.{size}"] = weights / bytes_per_s * _US
        for batch in batches:
            setting.say(f"gpu: {size}, {batch} rows")
            figures |= _figures(setting, device, size, batch)
    return figures | _served(setting, device, sizes[0], sessions)


def _figures(setting: Setting, device: Device, size: str, batch: int) -> dict[str, float]:
    model, effort = setting.models.path(size), setting.effort
    captured = not device.is_host
    graph, plain = (
        FixedShapeStepping(model, Execution(device, fixed_shape=True, captured=as_graph), batch)
        for as_graph in (captured, False)
    )

    def pace(run: Callable[[], None], steps: int = STEPS) -> Callable[[], float]:
        return lambda: _US / (runs_per_s(run, effort.slice_s) * steps)

    at = f"{size}.{batch}"
    rounds = in_turns(
        {
            f"gpu.step_us.{at}": pace(graph.run),
            f"gpu.step_us_plain.{at}": pace(plain.run),
            f"gpu.step_us_torch.{at}": pace(_torch_step(size, batch, device), 1),
            "replay": pace(graph.replay),
        },
        effort.rounds,
    )
    replays = rounds.pop("replay")
    steps = rounds[f"gpu.step_us.{at}"]
    figures: dict[str, float] = {}
    for name, values in rounds.items():
        figures |= figure(name, values)
    host = [step - replay for step, replay in zip(steps, replays, strict=True)]
    figures |= figure(f"gpu.host_us.{at}", host)
    figures |= figure(f"gpu.tokens_per_s.{at}", [batch * _US / step for step in steps])
    alone = FixedShapeStepping(model, Execution(device, fixed_shape=True, captured=captured), 1)
    together = graph.log_probabilities()
    same = [
        np.array_equal(alone.log_probabilities(row)[:, 0], together[:, row]) for row in range(batch)
    ]
    return figures | {f"gpu.same_bits.{at}": float(np.mean(same))}


def _torch_step(size: str, batch: int, device: Device) -> Callable[[], None]:
    """Return a step in plain torch: the cell, softmax and a draw, all on the card."""
    place = torch.device(f"{device.kind}:{device.number}")
    model = network(size).to(place)
    torch.backends.cuda.matmul.allow_tf32 = False
    tokens = torch.zeros(batch, 1, dtype=torch.int64, device=place)
    state = None

    def step() -> None:
        nonlocal tokens, state
        with torch.inference_mode():
            logits, state = model(tokens, state)
            tokens = torch.multinomial(torch.softmax(logits[:, -1], dim=1), 1)
        tokens.cpu()

    return step


def _bandwidth(device: Device) -> float:
    """Return the device's bandwidth for reading, in bytes a second, by a copy."""
    place = torch.device(f"{device.kind}:{device.number}")
    source = torch.zeros(_COPIED_BYTES // 4, device=place)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        if not device.is_host:
            torch.cuda.synchronize(place)

    # A copy reads and writes: reading alone is twice as fast.
    return 2 * _COPIED_BYTES * runs_per_s(copy, 0.2)


def _served(
    setting: Setting, device: Device, size: str, sessions: Sequence[int]
) -> dict[str, float]:
    effort, most = setting.effort, max(sessions)
    options = ["--max-batch", str(most), "--provider", device.kind]
    figures: dict[str, float] = {}
    with serving(daemon("--model", str(setting.models.path(size)), *options)) as server:
        for number in sessions:
            setting.say(f"gpu: {number} sessions over gRPC")
            loads = [
                measured(server.address, number, effort.warm_up_s, effort.load_s).tokens_per_s
                for _ in range(effort.load_rounds)
            ]
            figures |= figure(f"gpu.served_tokens_per_s.{size}.{number}", loads)
    return figures
