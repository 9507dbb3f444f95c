"""From text files nobody prepared to text over a socket: train, export, serve, generate."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.end_to_end.conftest import run, served

ENGLISH = "The cat sat on the mat; the dog did not.\r\n" * 60
CHINESE = "東風夜放花千樹\u3000更吹落星如雨。寶馬雕車香滿路。\n" * 60


def test_two_texts_become_two_models_of_one_daemon(tmp_path: Path) -> None:
    pytest.importorskip("torch", reason="training needs the train extra")
    models = []
    for name, text, cell, weights in (
        ("english", ENGLISH, "lstm", "int8"),
        ("chinese", CHINESE, "mingru", "float16"),
    ):
        corpus, trained = tmp_path / f"{name}.txt", tmp_path / f"{name}.run"
        corpus.write_text(text, encoding="utf-8", newline="")
        shape = ("--set", f"network.cell={cell}", "--layers", "1", "--hidden", "32")
        length = ("--epochs", "3", "--set", "batches.lanes=4")
        training = run("train", str(corpus), "--out", str(trained), *shape, *length)
        assert training.returncode == 0, training.stderr
        assert "bits per character" in training.stderr
        model = tmp_path / f"{name}.onnx"
        exported = run("export", str(trained), str(model), "--weights", weights)
        assert exported.returncode == 0, exported.stderr
        models += ["--model", str(model)]
    with served(*models) as daemon:
        for name, text in (("english", ENGLISH), ("chinese", CHINESE)):
            options = ("--model", name, "--prompt", text[:3], "--max-tokens", "40")
            generated = run("generate", "--target", daemon.address, *options)
            assert generated.returncode == 0, generated.stderr
            assert len(generated.stdout) == 40
            assert set(generated.stdout) <= set(text)
        table = run("models", "--target", daemon.address).stdout
        assert "english" in table
        assert "chinese" in table
