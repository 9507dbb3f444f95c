"""Top tokens as a card ranks them, whose TopK fills up with places that do not exist."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.server.program_runs import adjustments_of, batch_of, one_step
from tests.server.programs.card_topk import ReferenceCompiled
from tests.server.tiny_cell import lstm_cell, write_cell

from cellwire.model_file.cell import Cell, read_cell
from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.programs.sampler_variant import SamplerVariant
from cellwire.server.programs.step_program import ProgramShape, compose_step_program
from cellwire.server.runtime.compiled import Compiled
from cellwire.server.runtime.device import CPU, Execution
from cellwire.server.runtime.fixed_shape_step_runner import FixedShapeStepRunner
from cellwire.server.runtime.memory import memory_of
from cellwire.server.runtime.runtime import Runtime

ROWS = 40
UNKNOWN = 7

Step = Callable[[StepBatch], StepResult]


@pytest.fixture(scope="module", params=[33, 300])  # fills a block of 256 up, and does not
def cell(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Cell:
    symbols = [chr(0x4E00 + number) for number in range(request.param)]
    vocabulary = {"kind": "words", "symbols": symbols, "unknown": symbols[UNKNOWN]}
    path = Path(tmp_path_factory.mktemp("models")) / "unknown.onnx"
    return read_cell(write_cell(path, lstm_cell(5, vocabulary=vocabulary)))


def card_step(cell: Cell, arenas: Runtime) -> Step:
    def compiled(
        variant: SamplerVariant, shape: ProgramShape | None = None, *, ragged: bool
    ) -> Compiled:
        serialized = compose_step_program(cell, variant, shape, ragged=ragged)
        return ReferenceCompiled(serialized, card=True)

    execution = Execution(fixed_shape=True)
    buffers = arenas._states.arenas
    return FixedShapeStepRunner(compiled, buffers, cell, execution, ROWS, memory_of(CPU)).step


@pytest.mark.parametrize("kind", ["top_k", "mixed", "reports", "biased", "top_p"])
def test_a_card_ranks_places_that_exist(cell: Cell, kind: str) -> None:
    symbols = cell.manifest.vocabulary.size
    top_k = np.full(ROWS, symbols) * (kind == "top_k" or np.arange(ROWS) % 2)
    uniform = np.linspace(0, 1 - 2.0**-23, ROWS)
    batch = batch_of(ROWS, token=np.arange(ROWS) % 9, uniform=uniform, top_k=top_k)
    if kind == "reports":
        batch = replace(batch, top_token_count=symbols)
    if kind == "biased":
        changes = [(row, UNKNOWN, 1.5, 0.0) for row in range(ROWS)]
        batch = replace(batch, adjustments=adjustments_of(ROWS, changes))
    if kind == "top_p":
        batch = replace(batch, adjustments=adjustments_of(ROWS, top_p=np.full(ROWS, 0.99)))
    host = Runtime(cell, 9, ROWS)
    expected = one_step(host, batch)
    with np.errstate(all="ignore"):  # rows without a limit have infinite ones
        found = card_step(cell, host)(batch)
    assert (found.chosen[0] == expected.chosen).all()
    assert UNKNOWN not in found.chosen
    if kind == "reports":
        assert (np.sort(found.top_token, axis=1) == np.arange(symbols)).all()
