"""A GRU that nobody here exported: as torch computes it, and served."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.foreign import gru
from tests.foreign.cell_runs import Array, check_rows_independent, run_cell
from tests.foreign.serving import served

SYMBOLS = "abcdefghijklmnopqrstuvwxyz .\n"
WIDTH, HIDDEN = 12, 19
STEPS = 200


def random_weights(layers: int) -> dict[str, Array]:
    random = np.random.default_rng(layers)
    shapes = {
        "embedding.weight": (len(SYMBOLS), WIDTH),
        "head.weight": (len(SYMBOLS), HIDDEN),
        "head.bias": (len(SYMBOLS),),
    }
    for layer in range(layers):
        shapes[f"gru.weight_ih_l{layer}"] = (3 * HIDDEN, HIDDEN if layer else WIDTH)
        shapes[f"gru.weight_hh_l{layer}"] = (3 * HIDDEN, HIDDEN)
        shapes[f"gru.bias_ih_l{layer}"] = shapes[f"gru.bias_hh_l{layer}"] = (3 * HIDDEN,)
    return {name: random.normal(0, 0.4, shape).astype(np.float32) for name, shape in shapes.items()}


def random_tokens(batch: int) -> Array:
    return np.random.default_rng(batch).integers(len(SYMBOLS), size=(STEPS, batch))


@pytest.fixture(scope="module", params=[1, 2])
def layers(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture(scope="module")
def model(layers: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file as the script writes it."""
    folder = tmp_path_factory.mktemp("gru")
    arrays, symbols, path = folder / "weights.npz", folder / "symbols.txt", folder / "gru.onnx"
    np.savez(arrays, allow_pickle=False, **random_weights(layers))
    symbols.write_text(SYMBOLS, encoding="utf-8")
    subprocess.run([sys.executable, gru.__file__, arrays, symbols, path], check=True)
    return path


@pytest.mark.parametrize("batch", [1, 2, 33])
def test_it_computes_what_torch_does(model: Path, layers: int, batch: int) -> None:
    torch = pytest.importorskip("torch", reason="the comparison needs the train extra")
    network = torch.nn.ModuleDict(
        {
            "embedding": torch.nn.Embedding(len(SYMBOLS), WIDTH),
            "gru": torch.nn.GRU(WIDTH, HIDDEN, num_layers=layers),
            "head": torch.nn.Linear(HIDDEN, len(SYMBOLS)),
        }
    )
    network.load_state_dict({k: torch.from_numpy(v) for k, v in random_weights(layers).items()})
    tokens = random_tokens(batch)
    found = run_cell(model, tokens)
    with torch.no_grad():
        top, last = network["gru"](network["embedding"](torch.from_numpy(tokens)))
        logits = network["head"](top)
    np.testing.assert_allclose(found["logits"], logits.numpy(), rtol=0, atol=1e-5)
    for layer in range(layers):
        h = found[f"next_state.h{layer}"][-1]
        np.testing.assert_allclose(h, last[layer].numpy(), rtol=0, atol=1e-5)


def test_rows_are_independent(model: Path) -> None:
    check_rows_independent(model, random_tokens(33))


async def test_the_daemon_serves_it(model: Path, layers: int) -> None:
    async with served(model) as client:
        (listed,) = await client.models()
        assert (listed.name, listed.cell_kind) == ("gru", "gru")
        assert (listed.layer_count, listed.hidden_size) == (layers, HIDDEN)
        assert (await client.model("gru")).vocabulary.symbols == tuple(SYMBOLS)
        assert listed.state_bytes == 4 * layers * HIDDEN

        async def text(seed: int) -> str:
            return await client.generate("hello ", max_tokens=100, seed=seed).text()

        in_turn = [await text(seed) for seed in range(8)]
        assert list(await asyncio.gather(*map(text, range(8)))) == in_turn
        assert all(len(found) == 100 for found in in_turn)
        assert len(set(in_turn)) == 8
