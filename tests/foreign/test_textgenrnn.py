"""The network of textgenrnn 2.0.0: as Keras computes it, and served."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import h5py  # type: ignore[import-untyped]  # it ships no types
import numpy as np
import pytest
from tests.foreign import textgenrnn
from tests.foreign.cell_runs import Array, check_rows_independent, run_cell
from tests.foreign.serving import served

TEXT = """\
What do you think of the new trailer for the game that everyone has been waiting for since March?
My cat just learned how to open the door
[Question] How long does it take to get to level 40 if you only play on the weekend?
"""
COMMON = re.compile("a|and|for|i|in|is|it|my|of|that|the|this|to|you")
STEPS = 200
LIMIT = 1e-5


@dataclass(frozen=True, slots=True)
class Pretrained:
    """The package's files."""

    weights: Path
    vocabulary: Path

    def ids(self) -> dict[str, int]:
        ids = json.loads(self.vocabulary.read_text(encoding="utf-8"))
        return {str(symbol): int(number) for symbol, number in ids.items()}


@pytest.fixture(scope="session")
def pretrained(pytestconfig: pytest.Config) -> Pretrained:
    """The files, from pip the first time and from pytest's cache afterwards."""
    assert pytestconfig.cache is not None
    try:
        return Pretrained(*textgenrnn.fetch(pytestconfig.cache.mkdir("textgenrnn")))
    except textgenrnn.CannotFetch as error:
        pytest.skip(f"textgenrnn 2.0.0 cannot be fetched: {error}")


@pytest.fixture(scope="session")
def model(pretrained: Pretrained, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file as the script writes it."""
    path = tmp_path_factory.mktemp("models") / "textgenrnn.onnx"
    command: list[str | Path] = [sys.executable, textgenrnn.__file__, path]
    command += ["--weights", pretrained.weights, "--vocabulary", pretrained.vocabulary]
    subprocess.run(command, check=True)
    return path


class Keras:
    """The network as textgenrnn's model.py builds it, in float64."""

    def __init__(self, path: Path) -> None:
        with h5py.File(path) as file:
            self.layers = {
                name: [group[array][()].astype(np.float64) for array in group.attrs["weight_names"]]
                for name, group in file.items()
            }

    def logits(self, windows: Array) -> Array:
        """Return what goes into the last softmax `[windows, ids]`, for windows of ids."""
        (embeddings,), (scores,) = self.layers["embedding"], self.layers["attention"]
        embedded = embeddings[windows]
        first = self._lstm("rnn_1", embedded)
        features = np.concatenate([embedded, first, self._lstm("rnn_2", first)], axis=2)
        weights = np.exp(features @ scores)  # in float64 there is room for all of them
        average = (weights * features).sum(axis=1) / weights.sum(axis=1)
        kernel, bias = self.layers["output"]
        return np.asarray(average @ kernel + bias)

    def _lstm(self, name: str, inputs: Array) -> Array:
        """Run one LSTM over `[windows, time, width]`, with its weights laid out for the CPU."""
        kernel, recurrent, bias = self.layers[name]
        # keras/engine/saving.py, _convert_rnn_weights
        kernel = np.hstack([k.T.reshape(k.shape, order="F") for k in np.hsplit(kernel, 4)])
        recurrent = np.hstack([k.T for k in np.hsplit(recurrent, 4)])
        bias = np.sum(np.split(bias, 2), axis=0)
        h = c = np.zeros((len(inputs), recurrent.shape[0]))
        outputs = []
        for x in inputs.swapaxes(0, 1):
            i, f, candidate, o = np.hsplit(x @ kernel + h @ recurrent + bias, 4)
            c = _sigmoid(f) * c + _sigmoid(i) * np.tanh(candidate)
            h = _sigmoid(o) * np.tanh(c)
            outputs.append(h)
        return np.stack(outputs, axis=1)


def _sigmoid(x: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-x)))


def window(text: str, ids: dict[str, int]) -> list[int]:
    """What textgenrnn_generate shows the network of a text's last line."""
    title = [ids["<s>"], *(ids[symbol] for symbol in text.rpartition("\n")[2])]
    return ([0] * 40 + title)[-40:]


def tokens_of(texts: list[str], ids: dict[str, int]) -> Array:
    """Return texts as tokens `[steps, texts]`."""
    tokens = {symbol: number - 1 for symbol, number in ids.items()}
    tokens["\n"] = tokens["<s>"]
    return np.array([[tokens[symbol] for symbol in text] for text in texts]).T


@pytest.mark.slow
def test_it_computes_what_keras_does(pretrained: Pretrained, model: Path) -> None:
    ids = pretrained.ids()
    texts = [TEXT[start:][:STEPS] for start in (0, 8, 16)]
    found = run_cell(model, tokens_of(texts, ids))["logits"]
    keras = Keras(pretrained.weights)
    for row, text in enumerate(texts):
        windows = np.array([window(text[: n + 1], ids) for n in range(STEPS)])
        expected = keras.logits(windows)[:, 1:]
        # In units of the greatest logit: they go up to 140, where float32 is 1.5e-5 apart.
        assert np.abs(found[:, row] - expected).max() < LIMIT * np.abs(expected).max()


def test_rows_are_independent(pretrained: Pretrained, model: Path) -> None:
    texts = [(TEXT * 2)[start:][:60] for start in range(33)]
    check_rows_independent(model, tokens_of(texts, pretrained.ids()))


async def test_english_is_more_likely_than_its_reverse(model: Path) -> None:
    async with served(model) as client:
        (listed,) = await client.models()
        assert (listed.name, listed.layer_count, listed.hidden_size) == ("textgenrnn", 2, 128)
        assert listed.vocabulary.size == 464
        assert (await client.score(TEXT)).bits_per_token < 2
        assert (await client.score(TEXT[::-1])).bits_per_token > 4


async def test_a_line_feed_starts_a_title_like_a_new_session(model: Path) -> None:
    async with served(model) as client:
        from_the_start = await client.score("he cat", prompt="T")
        for before in ("\n", "\n\n", "My dog ate it\n"):
            assert await client.score("he cat", prompt=f"{before}T") == from_the_start
        assert await client.score("he cat", prompt="The T") != from_the_start


async def test_it_writes_titles(model: Path) -> None:
    async with served(model) as client:

        async def title(seed: int) -> str:
            writing = client.generate(
                "\n", max_tokens=200, seed=seed, temperature=0.5, stop_strings=["\n"]
            )
            return await writing.text()

        titles = await asyncio.gather(*map(title, range(30)))
        assert titles[0] == await title(0)
    assert len(set(titles)) == 30
    words = " ".join(titles).lower().split()
    assert sum(map(bool, map(COMMON.fullmatch, words))) > 0.25 * len(words)
