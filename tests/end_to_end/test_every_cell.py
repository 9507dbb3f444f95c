"""torch, the exported file and the daemon agree, for cells of every kind and depth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import cycle
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from tests.end_to_end.conftest import served
from tests.exporter.networks import random_tokens
from tests.exporter.saved_runs import (
    CHARACTERS,
    labels_config,
    random_network,
    saved_run,
    text_config,
)
from tests.server.plain_session import beam_search
from tests.server.program_runs import batch_of

from cellwire.client.sync import Client, connect
from cellwire.exporter.data.vocabulary import decode, encode
from cellwire.exporter.export import parity
from cellwire.exporter.export.export_run import export_run
from cellwire.exporter.export.fold import fold
from cellwire.exporter.export.graph import Weights, cell_graph
from cellwire.exporter.network.kinds import KINDS, Kind
from cellwire.exporter.network.network import Network, NetworkShape
from cellwire.exporter.runs.run_config import RunConfig
from cellwire.model_file.cell import read_cell
from cellwire.server.batch.step import MAX_STEPS
from cellwire.server.runtime.runtime import Runtime
from cellwire.server.session.operations import Complete

DEPTHS = (1, 2, 3)
TEXT = "a bead, a peg.\nhé did fold a 世 map, a long hob"
REVIEW = ("the", "film", "is", "very", "good", ",", "not", "bad", ".")
LIMIT = 1e-5

TEXTS: dict[str, RunConfig] = {
    f"{kind}-{layers}": text_config(kind, layers, one_hot=layers == 2)
    for kind in KINDS
    for layers in DEPTHS
}
LABELS: dict[str, RunConfig] = {
    f"{kind}-labels": labels_config(kind, layers, one_hot=layers == 2)
    for kind, layers in zip(KINDS, cycle(DEPTHS), strict=False)
}
ROUNDED: dict[str, Weights] = {"float16": "float16", "int8": "int8"}  # of gru-2


def network_of(config: RunConfig) -> Network:
    """A network that is sure of some things."""
    network = random_network(config)
    with torch.no_grad():
        network.head.weight.mul_(5)
    return network


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """A daemon that serves all of them."""
    folder = tmp_path_factory.mktemp("models")

    def export(name: str, config: RunConfig, weights: Weights = "float32") -> str:
        run = saved_run(folder / name, config, network_of(config))
        return f"--model={export_run(run, folder / f'{name}.onnx', weights=weights).path}"

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parity, "STEPS", 5)  # what is compared here is more than the file
        models = [export(name, config) for name, config in (TEXTS | LABELS).items()]
        models += [export(name, TEXTS["gru-2"], weights) for name, weights in ROUNDED.items()]
    with served(*models) as daemon, connect(daemon.address) as client:
        yield client


def torch_answers(config: RunConfig, text: str) -> npt.NDArray[np.float64]:
    """Log-probabilities `[symbols of text, answers]` of the next symbol, or of the labels."""
    tokens = torch.from_numpy(encode(config.vocabulary, text)).long()
    with torch.no_grad():
        answers, _ = network_of(config)(tokens[None])
    logs: npt.NDArray[np.float64] = answers[0].double().log_softmax(dim=1).numpy()
    return logs


@pytest.mark.parametrize("name", TEXTS)
def test_log_probabilities_are_those_of_torch(daemon: Client, name: str) -> None:
    scored = daemon.score(TEXT[1:], prompt=TEXT[0], model=name, log_probabilities=True)
    answers = torch_answers(TEXTS[name], TEXT[:-1])
    tokens = encode(TEXTS[name].vocabulary, TEXT[1:])
    expected = answers[np.arange(len(tokens)), tokens]
    np.testing.assert_allclose(scored.log_probabilities, expected, rtol=0, atol=LIMIT)
    with daemon.session(model=name) as session:
        appended = session.append(TEXT)
    assert appended.log_probability == pytest.approx(expected.sum(), abs=LIMIT * len(tokens))


@pytest.mark.parametrize("name", LABELS)
def test_scores_are_those_of_torch_as_words_arrive(daemon: Client, name: str) -> None:
    expected = np.exp(torch_answers(LABELS[name], " ".join(REVIEW)))
    with daemon.session(model=name) as session:
        for word, scores in zip(REVIEW, expected, strict=True):
            session.append(word)
            found = session.classify().scores
            assert [one.label for one in found] == list(LABELS[name].labels)
            np.testing.assert_allclose([one.score for one in found], scores, rtol=0, atol=LIMIT)
    whole = daemon.classify("The film is very good, not bad.", model=name)
    np.testing.assert_allclose(
        [one.score for one in whole.scores], expected[-1], rtol=0, atol=LIMIT
    )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layers", DEPTHS)
def test_completions_are_those_of_a_plain_search_over_torch(
    daemon: Client, kind: Kind, layers: int
) -> None:
    config, prompt = TEXTS[f"{kind}-{layers}"], TEXT[:20]

    def likeliest(tokens: tuple[int, ...]) -> list[tuple[int, float]]:
        text = prompt + decode(config.vocabulary, tokens)
        logs = enumerate(torch_answers(config, text)[-1].tolist())
        return sorted(logs, key=lambda one: -one[1])

    found = daemon.complete(
        prompt, model=f"{kind}-{layers}", beam_width=3, completion_count=3, max_tokens=4
    ).completions
    expected = beam_search(Complete(1, 3, 3, 4), likeliest)
    assert [one.text for one in found] == [decode(config.vocabulary, e.tokens) for e in expected]
    for one, other in zip(found, expected, strict=True):
        assert one.log_probability == pytest.approx(other.log_probability, abs=4 * LIMIT)


@pytest.mark.parametrize("name", ["int8", "mingru-3", "rnn_relu-2"])
def test_a_text_is_the_same_in_any_company(daemon: Client, name: str) -> None:
    def written(seed: int) -> str:
        return daemon.generate("a peg", model=name, max_tokens=60, seed=seed).text()

    in_turn = [written(seed) for seed in range(6)]
    with ThreadPoolExecutor(6) as together:
        assert list(together.map(written, range(6))) == in_turn
    assert len(set(in_turn)) == 6


def test_rounding_moves_the_daemons_answers_a_little(daemon: Client) -> None:
    score = partial(daemon.score, TEXT[1:], prompt=TEXT[0])
    whole, half, integers = (score(model=name).log_probability for name in ("gru-2", *ROUNDED))
    assert 1e-4 < abs(half - whole) < 0.5
    assert abs(integers - whole) < 5


def test_half_precision_in_company_is_the_same_bit_for_bit(tmp_path: Path) -> None:
    network = Network(NetworkShape("lstm", len(CHARACTERS), None, hidden=256, layers=2)).eval()
    cell = cell_graph(fold(network), "float16")
    vocabulary = {"kind": "characters", "symbols": CHARACTERS}
    manifest = json.dumps({"version": 1, "vocabulary": vocabulary})
    onnx.helper.set_model_props(cell, {"cellwire.manifest": manifest})
    onnx.save(cell, tmp_path / "half.onnx")
    runtime = Runtime(read_cell(tmp_path / "half.onnx"), slots=10, max_batch=9)
    tokens = random_tokens(steps=MAX_STEPS + 1, batch=9)

    def log_probabilities(rows: int) -> npt.NDArray[np.float32]:
        count, forced = np.full(rows, MAX_STEPS), tokens[1:, :rows]
        uniform = np.zeros(forced.shape)
        batch = batch_of(rows, token=tokens[0, :rows], count=count, forced=forced, uniform=uniform)
        return runtime.step(batch).log_probability

    together = log_probabilities(9)
    for rows in (1, 2):
        assert (log_probabilities(rows) == together[:, :rows]).all()
