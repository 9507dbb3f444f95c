"""gpu: multi-step runs on a CUDA card, beside what bounds them and beside torch's own loop.

Run by name only: `python -m tests.bench all` leaves it out, since most machines have no card. A run
has sixteen steps, and a step's time is a sixteenth of the run's, copies to and from the card
included.

gpu.step_us.<model>.<batch>            one step of so many rows, replayed as a CUDA graph
gpu.step_us_plain.<model>.<batch>      the same program, launched kernel by kernel
gpu.step_us_torch.<model>.<batch>      torch: the same cell, one step after the other, and a draw
gpu.host_us.<model>.<batch>            what of step_us is not the replay: copies, and Python
gpu.weights_us.<model>                 reading all weights once, at the bandwidth of a copy
gpu.tokens_per_s.<model>.<batch>        rows / step_us
gpu.same_bits.<model>.<batch>          the share of rows with the bits they have alone
gpu.served_tokens_per_s.<model>.<n>     so many sessions over gRPC, of a daemon of its own
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from tests.bench.child import daemon, serving
from tests.bench.figures import names
from tests.bench.load import measured
from tests.bench.models import network
from tests.bench.pace import figure, in_turns, runs_per_s
from tests.bench.padded_stepping import PaddedStepping
from tests.bench.setting import Setting

from cellwire.server.runtime.cuda import find_card
from cellwire.server.runtime.device import Device, Execution
from cellwire.server.runtime.fixed_shape_step_runner import LENGTHS

SIZES = ("L", "XL")
BATCHES = (1, 8, 64, 256, 512)
SESSIONS = (1, 64, 512)
STEPS = max(LENGTHS)

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
        PaddedStepping(model, Execution(device, padded=True, captured=each), batch)
        for each in (captured, False)
    )

    def pace(run: Callable[[], None], steps: int = STEPS) -> Callable[[], float]:
        return lambda: _US / (runs_per_s(run, effort.slice_s) * steps)

    at = f"{size}.{batch}"
    rounds = in_turns(
        {
            f"gpu.step_us.{at}": pace(graph.stride),
            f"gpu.step_us_plain.{at}": pace(plain.stride),
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
    alone = PaddedStepping(model, Execution(device, padded=True, captured=captured), 1)
    together = graph.log_probabilities()
    same = [
        np.array_equal(alone.log_probabilities(row)[:, 0], together[:, row]) for row in range(batch)
    ]
    return figures | {f"gpu.same_bits.{at}": float(np.mean(same))}


def _torch_step(size: str, batch: int, device: Device) -> Callable[[], None]:
    """Return a step as one would write it in torch: the cell, softmax, a draw; all on the card."""
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
    """Return how many bytes a second the device reads while it copies: as many are written."""
    place = torch.device(f"{device.kind}:{device.number}")
    source = torch.zeros(_COPIED_BYTES // 4, device=place)
    target = torch.empty_like(source)

    def copy() -> None:
        target.copy_(source)
        if not device.is_host:
            torch.cuda.synchronize(place)

    # Read and write share the bandwidth: what is only read goes twice as fast.
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
