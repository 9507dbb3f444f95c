"""trainer: `cellwire train` against a plain loop of torch.nn, on the same text and model.

Both take the same steps: consecutive windows whose state is carried, the loss of every token, AdamW
on a cosine, gradients clipped by their global norm. Neither validates nor saves.

trainer.speed_ratio.<model>     ours / the plain loop, in tokens per second, in turns
trainer.tokens_per_s.<model>    of ours
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tests.bench.figures import names
from tests.bench.models import SIZES as MODELS
from tests.bench.pace import figure, in_turns, ratios, runs_per_s
from tests.bench.setting import Setting
from tests.bench.texts import symbols_of
from torch import nn
from torch.nn.functional import cross_entropy

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.network.cell import State
from cellwire.exporter.recipe.recipe_file import read_recipe
from cellwire.exporter.training.checkpoint_span import CheckpointSpan
from cellwire.exporter.training.compute import CPU
from cellwire.exporter.training.optimizer import cosine_factor
from cellwire.exporter.training.start import start_training

SIZES = ("S", "M", "L")
LANES, WINDOW, EMBEDDING = 16, 64, 64
STEPS = 1_000_000  # more than are ever taken, so that the schedule is at its beginning
_CHARS = 400_000
_SEED = 5

FIGURES = names("trainer", ("speed_ratio", "tokens_per_s"), SIZES)


def run(setting: Setting, sizes: Sequence[str] = SIZES) -> dict[str, float]:
    """Measure every model, with as many threads as the daemon computes with."""
    threads = torch.get_num_threads()
    torch.set_num_threads(setting.threads)
    try:
        figures: dict[str, float] = {}
        for size in sizes:
            setting.say(f"trainer: {size}")
            with tempfile.TemporaryDirectory(prefix="cellwire-bench-") as folder:
                figures |= _figures(setting, size, Path(folder) / "run")
        return figures
    finally:
        torch.set_num_threads(threads)


def _figures(setting: Setting, size: str, folder: Path) -> dict[str, float]:
    text = _text()
    ours, plain = Ours(text, size, folder), PlainLoop(text, size)
    slice_s = setting.effort.slice_s
    paces = in_turns(
        {
            "ours": lambda: runs_per_s(ours.step, slice_s) * LANES * WINDOW,
            "plain": lambda: runs_per_s(plain.step, slice_s) * LANES * WINDOW,
        },
        setting.effort.rounds,
    )
    return {
        **figure(f"trainer.speed_ratio.{size}", ratios(paces["ours"], paces["plain"])),
        **figure(f"trainer.tokens_per_s.{size}", paces["ours"]),
    }


def _text() -> str:
    symbols = symbols_of(83)
    places = np.random.default_rng(_SEED).integers(len(symbols), size=_CHARS)
    return "".join(symbols[place] for place in places)


class Ours:
    """A training as the command makes it, step by step."""

    def __init__(self, text: str, size: str, folder: Path) -> None:
        settings = [
            f"network.layers={MODELS[size].layers}",
            f"network.hidden={MODELS[size].hidden}",
            f"network.embedding={EMBEDDING}",
            f"batches.lanes={LANES}",
            f"batches.window={WINDOW}",
            f"run.steps={STEPS}",
        ]
        corpus = Corpus(Path("random.txt"), text.encode(), "")
        self._training, _ = start_training(corpus, read_recipe(None, settings), folder, None, CPU)
        self._batches = self._training._remaining_batches()
        self._span = CheckpointSpan(_SEED, 0)
        self._state: State | None = None

    def step(self) -> None:
        batch = next(self._batches)
        state = self._state if batch.carries_state else None
        self._state = self._training._train_on(batch, state, self._span)


class PlainLoop:
    """The loop that one writes for a single model."""

    def __init__(self, text: str, size: str) -> None:
        model = MODELS[size]
        symbols = {symbol: i for i, symbol in enumerate(sorted(set(text)))}
        ids = torch.tensor([symbols[symbol] for symbol in text])
        length = len(ids) // LANES
        self._lanes = ids[: LANES * length].reshape(LANES, length)
        self._embedding = nn.Embedding(len(symbols), EMBEDDING)
        self._lstm = nn.LSTM(EMBEDDING, model.hidden, model.layers, batch_first=True)
        self._head = nn.Linear(model.hidden, len(symbols))
        modules = nn.ModuleList([self._embedding, self._lstm, self._head])
        self._parameters = list(modules.parameters())
        self._optimizer = torch.optim.AdamW(self._parameters, lr=4e-3, weight_decay=0.01)
        self._schedule = torch.optim.lr_scheduler.LambdaLR(
            self._optimizer, lambda step: cosine_factor(step, STEPS)
        )
        self._state: tuple[torch.Tensor, torch.Tensor] | None = None
        self._place = 0

    def step(self) -> None:
        if self._place + WINDOW >= self._lanes.shape[1]:
            self._place, self._state = 0, None
        here = slice(self._place, self._place + WINDOW)
        there = slice(self._place + 1, self._place + WINDOW + 1)
        outputs, (h, c) = self._lstm(self._embedding(self._lanes[:, here]), self._state)
        logits = self._head(outputs)
        loss = cross_entropy(logits.flatten(0, 1), self._lanes[:, there].flatten())
        self._optimizer.zero_grad()
        torch.autograd.backward(loss)
        nn.utils.clip_grad_norm_(self._parameters, 1.0)
        self._optimizer.step()
        self._schedule.step()
        self._state = h.detach(), c.detach()
        self._place += WINDOW
