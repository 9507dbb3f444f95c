from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tests.exporter.command_line import cellwire, refusal
from tests.exporter.saved_runs import labels_config, random_network, saved_run, text_config

SQUARE = "east 1 0\nnorth 0 1\nwest -1 0\nnortheast 2 2\n"


@pytest.fixture
def square(tmp_path: Path) -> Path:
    path = tmp_path / "square.txt"
    path.write_text(SQUARE)
    return path


def test_a_line_is_a_cosine_and_a_word(square: Path) -> None:
    result = cellwire("embed", "neighbours", "east", "--vectors", square, "-n", "2")
    assert result.stdout == "0.707 northeast\n0.000 north\n"
    result = cellwire("embed", "analogy", "east", "north", "west", "--vectors", square)
    assert result.stdout == "-0.316 northeast\n"


def test_the_committed_vectors_are_the_default() -> None:
    result = cellwire("embed", "analogy", "man", "king", "woman", "-n", "1")
    assert result.stdout.split()[1] == "queen"


def test_without_committed_vectors_a_file_is_required(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellwire.exporter.data.vectors.COMMITTED", tmp_path / "none.txt")
    assert refusal(cellwire("embed", "neighbours", "king")).endswith("with --vectors")


def test_a_run_answers_from_its_embedding(tmp_path: Path) -> None:
    config = labels_config()
    network = random_network(config)
    good, bad = config.symbols.index("good"), config.symbols.index("bad")
    with torch.no_grad():
        embedding = network.get_parameter("embedding.weight")
        embedding[bad] = 2 * embedding[good]
    run = saved_run(tmp_path / "run", config, network)
    result = cellwire("embed", "neighbours", "good", "--run", run.path, "-n", "1")
    assert result.stdout == "1.000 bad\n"


def test_a_run_without_an_embedding_of_words_is_refused(tmp_path: Path) -> None:
    characters = saved_run(tmp_path / "characters", text_config()).path
    line = refusal(cellwire("embed", "neighbours", "a", "--run", characters))
    assert line.endswith("was trained on characters, not on words")
    one_hot = saved_run(tmp_path / "one-hot", labels_config(one_hot=True)).path
    line = refusal(cellwire("embed", "neighbours", "good", "--run", one_hot))
    assert "one-hot" in line
    line = refusal(cellwire("embed", "neighbours", "good", "--run", tmp_path / "none"))
    assert "is not a run folder" in line


def test_unknown_words_are_named(square: Path) -> None:
    line = refusal(cellwire("embed", "neighbours", "wast", "--vectors", square))
    assert line == "cellwire: there is no vector for 'wast'; similar spellings: west, east"


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["neighbours", "east", "west"], "neighbours takes one word"),
        (["analogy", "east", "west"], "analogy takes three words"),
        (["neighbours", "east", "--vectors", "a", "--run", "b"], "exclude each other"),
        (["opposites", "east"], "'opposites' is not one of"),
    ],
)
def test_invalid_queries_are_refused(arguments: list[str], complaint: str) -> None:
    result = cellwire("embed", *arguments)
    assert result.exit_code == 2
    assert complaint in result.stderr
