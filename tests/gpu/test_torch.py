"""torch and the daemon's runtime on one device: the same numbers; and trainings on a card."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from tests.gpu.devices import REAL_DEVICES
from tests.gpu.step_batches import on
from tests.server.program_runs import batch_of

from cellwire.model_file.cell import read_cell
from cellwire.server.runtime.device import Device
from cellwire.server.runtime.runtime import Runtime

torch = pytest.importorskip("torch")

from cellwire.exporter.export.fold import fold  # noqa: E402
from cellwire.exporter.export.graph import Weights, cell_graph  # noqa: E402
from cellwire.exporter.network.kinds import KINDS, Kind  # noqa: E402  # without torch there is nothing here
from cellwire.exporter.network.network import Network, NetworkShape  # noqa: E402
from cellwire.exporter.training.compute import CPU, Compute, Precision  # noqa: E402

SYMBOLS = "abcdefghijklmnopqrstuvwxyz .,"
STEPS, ROWS = 16, 9
CLOSE = {"float32": 1e-5, "float16": 2e-2}


@REAL_DEVICES
@pytest.mark.parametrize("weights", ["float32", "float16"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_daemon_computes_what_torch_does(
    tmp_path: Path, device: Device, kind: Kind, weights: Weights
) -> None:
    torch.manual_seed(1)
    CPU.set_products()
    network = Network(NetworkShape(kind, len(SYMBOLS), 16, hidden=64, layers=2)).eval()
    cell = cell_graph(fold(network), weights)
    vocabulary = {"kind": "characters", "symbols": list(SYMBOLS)}
    manifest = json.dumps({"version": 1, "vocabulary": vocabulary})
    onnx.helper.set_model_props(cell, {"cellwire.manifest": manifest})
    onnx.save(cell, tmp_path / "cell.onnx")
    runtime = Runtime(read_cell(tmp_path / "cell.onnx"), 40, 16, on(device))
    tokens = np.random.default_rng(1).integers(0, len(SYMBOLS), (STEPS + 1, ROWS))
    found = runtime.step(
        batch_of(
            ROWS,
            token=tokens[0],
            count=np.full(ROWS, STEPS),
            forced=tokens[1:],
            uniform=np.zeros((STEPS, ROWS)),
        )
    ).log_probability
    with torch.inference_mode():
        place = torch.device(f"{device.kind}:{device.number}")
        logits, _ = network.to(place)(torch.from_numpy(tokens[:-1].T.copy()).to(place))
        logs = torch.log_softmax(logits, -1).cpu().numpy()
    expected = np.take_along_axis(logs, tokens[1:].T[..., None], -1)[..., 0].T
    assert np.abs(found - expected).max() <= CLOSE[weights]


@pytest.mark.gpu
@pytest.mark.usefixtures("card")
@pytest.mark.parametrize("precision", ["float32", "tf32", "mixed"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_training_learns_on_a_card_and_resumes(
    tmp_path: Path, kind: Kind, precision: Precision
) -> None:
    from tests.exporter.trainings import corpus, recipe

    from cellwire.exporter.runs.run_folder import RunFolder
    from cellwire.exporter.training.start import resume_training, start_training

    compute = Compute.select("cuda", precision)
    asked = recipe(f"network.cell={kind}", "run.steps=60", "run.validate_every=30")
    training, _ = start_training(corpus(), asked, tmp_path / "run", None, compute)
    losses: list[float] = []
    training.run(lambda progress: losses.append(progress.train.nats))
    assert losses[-1] < losses[0]
    again, said = resume_training(RunFolder.open(tmp_path / "run"), corpus(), compute)
    assert again.step == 60
    assert "60" in said
