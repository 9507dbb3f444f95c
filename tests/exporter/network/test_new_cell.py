"""A new kind of cell is one file, which is trained and exported without any other change."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import onnx
import pytest
from tests.exporter.trainings import SMALL, TEXT

LEAKY = '''
"""A leaky integrator of its inputs: h' = (h + tanh(W x + b)) / 2."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import nn

from cellwire.exporter.network.cell import CellKind
from cellwire.exporter.network.folding import FoldedLayer
from cellwire.exporter.network.stacked import Layer, StackedCell


class LeakyLayer(Layer):
    def __init__(self, inputs, hidden):
        super().__init__()
        self.linear = nn.Linear(inputs, hidden)

    def forward(self, inputs, h):
        outputs = []
        for x in torch.tanh(self.linear(inputs)).unbind(1):
            h = (h + x) / 2
            outputs.append(h)
        return torch.stack(outputs, 1)


@dataclass(frozen=True, slots=True, eq=False)
class FoldedLeakyLayer(FoldedLayer):
    def add_step(self, nodes, layer, projected):
        half = nodes.constant(f"layer{layer}.half", np.array(0.5, np.float32))
        activation = nodes.add("Tanh", projected, out=f"layer{layer}.activation")
        return nodes.interpolate(layer, start=f"state.h{layer}", end=activation, weight=half)


def fold(weights, layer):
    linear = f"cell.layers.{layer}.linear"
    parameters = weights.transposed(f"{linear}.weight"), weights.transposed(f"{linear}.bias")
    return FoldedLeakyLayer(weights.input_projection(layer, *parameters))


CELL = CellKind(("h",), True, lambda size: StackedCell(size, LeakyLayer), fold)
'''


def commands(*calls: Sequence[object]) -> str:
    """Return a script that runs commands of the exporter in turn."""
    return f"""
from typer import Typer
from cellwire.exporter.commands.export import export
from cellwire.exporter.commands.train import train

app = Typer()
app.command()(export)
app.command()(train)
for call in {[list(map(str, call)) for call in calls]!r}:
    app(call, standalone_mode=False)
"""


@pytest.mark.slow
def test_a_new_kind_of_cell_is_one_file(tmp_path: Path) -> None:
    folder = tmp_path / "path" / "cellwire" / "exporter" / "network" / "cells"
    folder.mkdir(parents=True)
    (folder / "leaky.py").write_text(LEAKY)
    text, run = tmp_path / "text.txt", tmp_path / "run"
    text.write_text(TEXT)
    settings = [
        f"--set={setting}" for setting in (*SMALL, "network.cell=leaky", "network.layers=2")
    ]
    models = {weights: tmp_path / f"{weights}.onnx" for weights in ("float32", "float16", "int8")}
    script = commands(
        ["train", text, "--out", run, *settings],
        *(["export", run, model, "--weights", weights] for weights, model in models.items()),
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "path")}
    subprocess.run([sys.executable, "-c", script], check=True, env=environment)
    for weights, model in models.items():
        (entry,) = onnx.load(model).metadata_props  # parity was proven before it was written
        assert json.loads(entry.value)["cell"] == {
            "kind": "leaky",
            "layers": 2,
            "hidden": 24,
            "weights": weights,
        }


def test_a_recipe_is_checked_without_torch() -> None:
    script = (
        "import sys; from cellwire.exporter.recipe.recipe_file import read_recipe; "
        "read_recipe(None, ['network.cell=gru']); assert not {'torch', 'onnx'} & sys.modules.keys()"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
