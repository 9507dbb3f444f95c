"""That a card could run what the exporter writes: every cell, in float32 and in half precision."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest
from tests.server.programs.cuda_kernels import check_capturable, optimized

from cellwire.exporter.export.fold import fold
from cellwire.exporter.export.graph import Weights, cell_graph
from cellwire.exporter.network.kinds import KINDS, Kind
from cellwire.exporter.network.network import Network, NetworkShape
from cellwire.model_file.cell import read_cell
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program


@pytest.mark.parametrize("weights", ["float32", "float16"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("labels", [(), ("bad", "good")])
def test_a_stride_of_every_cell_can_be_captured(
    tmp_path: Path, kind: Kind, weights: Weights, labels: tuple[str, ...]
) -> None:
    shape = NetworkShape(kind, 9, 4, hidden=8, layers=2, labels=len(labels))
    cell = cell_graph(fold(Network(shape).eval()), weights)
    symbols = {"kind": "characters", "symbols": list("abcdefghi")}
    manifest = json.dumps({"version": 1, "vocabulary": symbols, "labels": labels})
    onnx.helper.set_model_props(cell, {"cellwire.manifest": manifest})
    onnx.save(cell, tmp_path / "cell.onnx")
    program = compose_step_program(
        read_cell(tmp_path / "cell.onnx"), SamplerVariant.PLAIN, ProgramShape(4, 0)
    )
    check_capturable(optimized(program, tmp_path))
