from __future__ import annotations

from pathlib import Path
from tempfile import mkdtemp

import pytest
import torch
from tests.exporter.trainings import LABELLED, corpus, recipe, resumed_training, trained_run

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.errors import CorpusError, RunError
from cellwire.exporter.runs.run_folder import RunFolder
from cellwire.exporter.training.compute import CPU
from cellwire.exporter.training.start import start_training
from cellwire.exporter.training.training import Training

QUICK = ("run.steps=2", "run.validate_every=1")
SUBSET = "dog over dog. the lazy brown dog. " * 40


def started(base: RunFolder, text: str | Corpus, *settings: str) -> Training:
    source = text if isinstance(text, Corpus) else corpus(text)
    out = Path(mkdtemp(dir=base.path.parent)) / "second"
    return start_training(source, recipe(*settings), out, base.path, CPU)[0]


def csv_corpus(*rows: str) -> Corpus:
    return corpus("\n".join(["text,label", *rows]))


def test_a_text_of_some_of_the_symbols_takes_over_all_of_the_base(tmp_path: Path) -> None:
    base = trained_run(tmp_path / "base", *QUICK)
    training = started(base, SUBSET, *QUICK)
    assert training.config.symbols == base.config.symbols
    for name, tensor in base.load_network()[0].state_dict().items():
        assert torch.equal(tensor, training.network.state_dict()[name]), name
    training.run(lambda _: None)
    again = resumed_training(next(tmp_path.glob("*/second")), text=SUBSET)
    assert again.dataset.vocabulary.facts == training.dataset.vocabulary.facts
    assert again.dataset.train.tolist() == training.dataset.train.tolist()  # type: ignore[union-attr]


def test_words_that_the_base_does_not_have_are_unknown(tmp_path: Path) -> None:
    base = trained_run(tmp_path / "base", *QUICK, "data.symbols=words")
    training = started(base, "the unknown dog. " * 40, *QUICK, "data.symbols=words")
    assert training.config.symbols == base.config.symbols
    assert training.dataset.notes[0].startswith("9 words are known; unknown are 25.")


def test_half_a_symbol_at_the_end_of_a_text_is_new(tmp_path: Path) -> None:
    composed = "data.unicode_form=NFC"
    base = trained_run(tmp_path / "base", *QUICK, composed, text="d\u00e9j\u00e0 vu, " * 40)
    with pytest.raises(CorpusError, match=r"does not know 'a' \(first at character 120\)"):
        started(base, "vu, " * 30 + "a", *QUICK, composed)


def test_new_symbols_are_named(tmp_path: Path) -> None:
    base = trained_run(tmp_path / "base", *QUICK)
    with pytest.raises(CorpusError) as error:
        started(base, SUBSET + "THE DOG é!" * 9, *QUICK)
    message = str(error.value)
    assert "does not know 'T', 'H', 'E', 'D', 'O', 'G', 'é', '!'" in message
    assert f"first at character {len(SUBSET):,}" in message
    assert "train without --start-from" in message
    assert not (tmp_path / "second").exists()


def test_labels_are_taken_over_and_new_ones_named(tmp_path: Path) -> None:
    rows = [f"the film is {word},{word}" for word in ("good", "bad", "odd")]
    rows = [row.replace("film", f"film {number}") for row in rows for number in range(9)]
    settings = (*QUICK, *LABELLED)
    first, _ = start_training(csv_corpus(*rows), recipe(*settings), tmp_path / "base", None, CPU)
    first.run(lambda _: None)
    base = RunFolder.open(tmp_path / "base")
    assert base.config.labels == ("bad", "good", "odd")
    some = [row for row in rows if not row.endswith("bad")]
    assert started(base, csv_corpus(*some), *settings).config.labels == base.config.labels
    with pytest.raises(CorpusError, match=r"has no label 'new'; its labels are 'bad', 'good'"):
        started(base, csv_corpus(*some, "a new film,new"), *settings)


@pytest.mark.parametrize(
    ("settings", "advice"),
    [
        (("network.hidden=9",), "network.hidden = 24 (here 9); to start from it, add --set"),
        (
            ("network.cell=gru", "network.layers=2"),
            "--set network.cell=lstm --set network.layers=1",
        ),
        (("network.embedding=9",), "--set network.embedding=8"),
        (("data.lower_case=true",), "data.lower_case = false (here true)"),
        (("data.html=true", "data.symbols=bytes"), "--set data.symbols=characters --set data.html"),
    ],
)
def test_settings_that_must_be_those_of_the_base_are_named(
    tmp_path: Path, settings: tuple[str, ...], advice: str
) -> None:
    base = trained_run(tmp_path / "base", *QUICK)
    with pytest.raises(RunError) as error:
        started(base, SUBSET, *QUICK, *settings)
    assert advice in str(error.value)
    assert not (tmp_path / "second").exists()
