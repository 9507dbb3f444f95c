"""gpu: multi-step runs on a CUDA card, in an engine, and served, beside a loop in torch.

Run by name only: `python -m tests.bench all` leaves it out, since most machines have no card. A run
has sixteen steps, and a step's time is a sixteenth of the run's, copies to and from the card
included. Products are in full float32 everywhere: TF32 is off, in torch as well.

Runs of the runtime alone:

gpu.step_us.<model>.<batch>            one step of a batch, replayed as a CUDA graph
gpu.step_us_plain.<model>.<batch>      the same program, launched kernel by kernel
gpu.step_us_torch.<model>.<batch>      torch: a step of the same cell, and a draw
gpu.host_us.<model>.<batch>            step_us without the replay: copies, and Python
gpu.tokens_per_s.<model>.<batch>       rows / step_us
gpu.same_bits.<model>.<batch>          the share of rows with the same bits as alone

What the card does in a run launched kernel by kernel, from a profile in a process of its own:

gpu.reckoned_kernels.<model>           kernels and copies a step, counted in the program (nodes.py)
gpu.kernels.<model>.<batch>            kernels, copies and fills a step
gpu.kernels_us.<model>.<batch>         their own time a step, without what lies between
gpu.gap_us.<model>.<batch>             step_us without that

An engine in this process, whose sessions generate without end, and the daemon:

gpu.engine_us.<batch>                  the engine's own time a step, with a cell that does nothing
gpu.engine_tokens_per_s.<model>.<batch>   the engine with its cell on the card
gpu.hidden_share.<model>.<batch>       how much of the host's time goes by while the card works
gpu.served_tokens_per_s.<model>.<n>    <n> sessions over gRPC

gpu.failed_parts                       parts that failed; the others' figures are there
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing

import numpy as np
from tests.bench.child import daemon, module, serving, told_by
from tests.bench.endless_engine import EndlessEngine, NoStepper
from tests.bench.figures import names
from tests.bench.fixed_shape_stepping import FixedShapeStepping
from tests.bench.kernels import reckoned_kernels
from tests.bench.load import measured
from tests.bench.pace import figure, in_turns, runs_per_s
from tests.bench.setting import Setting
from tests.bench.torch_step import torch_step

from cellwire.model_file.cell import read_cell
from cellwire.server.runtime.cuda import find_card
from cellwire.server.runtime.device import Device, Execution
from cellwire.server.runtime.fixed_shape_step_runner import SUPPORTED_STEPS
from cellwire.server.runtime.runtime import Runtime

SIZES = ("L", "XL")
BATCHES = (1, 8, 64, 256, 512)
SESSIONS = (1, 64, 512)
STEPS = max(SUPPORTED_STEPS)

FIGURES = (
    *names("gpu", ("step_us", "step_us_plain", "step_us_torch", "host_us"), SIZES, BATCHES),
    *names("gpu", ("tokens_per_s", "same_bits"), SIZES, BATCHES),
    *names("gpu", ("reckoned_kernels",), SIZES),
    *names("gpu", ("kernels", "kernels_us", "gap_us"), SIZES, BATCHES),
    *names("gpu", ("engine_us",), BATCHES),
    *names("gpu", ("engine_tokens_per_s", "hidden_share"), SIZES, BATCHES),
    *names("gpu", ("served_tokens_per_s",), ("L",), SESSIONS),
    "gpu.failed_parts",
)

_US = 1e6

Figures = dict[str, float]


def run(
    setting: Setting,
    sizes: Sequence[str] = SIZES,
    batches: Sequence[int] = BATCHES,
    sessions: Sequence[int] = SESSIONS,
    device: Device | None = None,
) -> Figures:
    """Measure on the first card; NoCuda if there is none."""
    if device is None:
        card = find_card(0)
        setting.say(f"gpu: {card.name}")
        device = Device("cuda", card.number)
    measurement = _Measurement(setting, device)
    for size in sizes:
        for batch in batches:
            measurement.take(f"{size}, {batch} rows", measurement.steps, size, batch)
            measurement.take(f"engine of {size}, {batch} rows", measurement.engine, size, batch)
    for number in sessions:
        measurement.take(f"{number} sessions over gRPC", measurement.served, sizes[0], number)
    for size in sizes:
        for batch in batches:
            measurement.take(f"kernels of {size}, {batch} rows", measurement.kernels, size, batch)
    return measurement.figures


class _Measurement:
    """The figures so far; a part may use those of the parts before it."""

    def __init__(self, setting: Setting, device: Device) -> None:
        self.figures: Figures = {"gpu.failed_parts": 0}
        self._setting = setting
        self._device = device

    def take(self, name: str, part: Callable[[str, int], Figures], size: str, number: int) -> None:
        """Add a part's figures; one that fails takes no other with it."""
        self._setting.say(f"gpu: {name}")
        try:
            self.figures |= part(size, number)
        except Exception:  # noqa: BLE001  # whatever it is, time on a card is dear
            self._setting.say(f"gpu: {name} failed:\n{traceback.format_exc()}")
            self.figures["gpu.failed_parts"] += 1

    def steps(self, size: str, batch: int) -> Figures:
        """Measure the runtime alone."""
        device, effort = self._device, self._setting.effort

        def pace(run: Callable[[], None], steps: int = STEPS) -> Callable[[], float]:
            return lambda: _US / (runs_per_s(run, effort.slice_s) * steps)

        at = f"{size}.{batch}"
        with self._stepping(size, batch) as graph, self._stepping(size, batch, plain=True) as plain:
            rounds = in_turns(
                {
                    "step_us": pace(graph.run),
                    "step_us_plain": pace(plain.run),
                    "step_us_torch": pace(torch_step(size, batch, device), 1),
                    "replay": pace(graph.replay),
                },
                effort.rounds,
            )
            same_bits = self._same_bits(size, batch, graph)
        steps, replays = rounds["step_us"], rounds.pop("replay")
        rounds["host_us"] = [step - replay for step, replay in zip(steps, replays, strict=True)]
        rounds["tokens_per_s"] = [batch * _US / step for step in steps]
        figures: Figures = {}
        for name, values in rounds.items():
            figures |= figure(f"gpu.{name}.{at}", values)
        return figures | {f"gpu.same_bits.{at}": same_bits}

    def _stepping(
        self, size: str, batch: int, *, plain: bool = False
    ) -> closing[FixedShapeStepping]:
        captured = not (plain or self._device.is_host)
        execution = Execution(self._device, fixed_shape=True, captured=captured)
        return closing(FixedShapeStepping(self._setting.models.path(size), execution, batch))

    def _same_bits(self, size: str, batch: int, graph: FixedShapeStepping) -> float:
        """Return the share of rows that have the same log-probabilities in a run of one row."""
        together = graph.log_probabilities()
        with self._stepping(size, 1) as alone:
            same = [
                np.array_equal(alone.log_probabilities(row)[:, 0], together[:, row])
                for row in range(batch)
            ]
        return float(np.mean(same))

    def engine(self, size: str, batch: int) -> Figures:
        """Measure an engine with a cell that does nothing, and with one on the card."""
        cell = read_cell(self._setting.models.path(size))
        execution = Execution.on(self._device, self._setting.threads)
        slice_s = self._setting.effort.slice_s
        with ExitStack() as stack:

            def runtime(slots: int) -> Runtime:
                return stack.enter_context(closing(Runtime(cell, slots, batch, execution)))

            bare, full = EndlessEngine(lambda _: NoStepper(), batch), EndlessEngine(runtime, batch)
            rounds = in_turns(
                {"bare": lambda: bare.step_us(slice_s), "full": lambda: full.step_us(slice_s)},
                self._setting.effort.rounds,
            )
        at = f"{size}.{batch}"
        tokens_per_s = [batch * _US / step for step in rounds["full"]]
        figures = figure(f"gpu.engine_us.{batch}", rounds["bare"])
        figures |= figure(f"gpu.engine_tokens_per_s.{at}", tokens_per_s)
        if f"gpu.step_us.{at}" in self.figures:
            own_us, step_us = figures[f"gpu.engine_us.{batch}"], self.figures[f"gpu.step_us.{at}"]
            together_us = batch * _US / figures[f"gpu.engine_tokens_per_s.{at}"]
            host_us = own_us + self.figures[f"gpu.host_us.{at}"]
            figures[f"gpu.hidden_share.{at}"] = (own_us + step_us - together_us) / host_us
        return figures

    def kernels(self, size: str, batch: int) -> Figures:
        """Profile a run."""
        model, device, at = self._setting.models.path(size), self._device, f"{size}.{batch}"
        place = "--device", device.kind, "--number", device.number
        kernels = told_by(module("kernels", model, "--rows", batch, *place))
        for name, time_us in kernels["longest"].items():
            self._setting.say(f"gpu:   {time_us / STEPS:7.1f} us a step  {name}")
        own_us = kernels["time_us"] / STEPS
        figures = {
            f"gpu.reckoned_kernels.{size}": reckoned_kernels(model, STEPS) / STEPS,
            f"gpu.kernels.{at}": kernels["number"] / STEPS,
            f"gpu.kernels_us.{at}": own_us,
        }
        if f"gpu.step_us.{at}" in self.figures:
            figures[f"gpu.gap_us.{at}"] = self.figures[f"gpu.step_us.{at}"] - own_us
        return figures

    def served(self, size: str, number: int) -> Figures:
        """Measure the daemon with so many sessions."""
        effort, model = self._setting.effort, str(self._setting.models.path(size))
        options = ["--max-batch", str(max(BATCHES)), "--provider", self._device.kind]
        with serving(daemon("--model", model, *options)) as server:
            loads = [
                measured(server.address, number, effort.warm_up_s, effort.load_s).tokens_per_s
                for _ in range(effort.load_rounds + 1)
            ]
        # The first load compiles programs and captures graphs, for each size that it comes to.
        return figure(f"gpu.served_tokens_per_s.{size}.{number}", loads[1:])
