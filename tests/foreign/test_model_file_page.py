"""What docs/model-file.md shows is what holds."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from onnx import TensorProto, helper
from tests.foreign import gru
from tests.foreign.test_gru import HIDDEN, SYMBOLS, random_weights

from cellwire.model_file import stored_file, trial, trial_texts
from cellwire.model_file.cell import read_cell
from cellwire.model_file.errors import BadModel
from cellwire.model_file.manifest import parse_manifest
from cellwire.server.runtime import cell_trial

PAGE = (Path(__file__).parents[2] / "docs" / "model-file.md").read_text(encoding="utf-8")

Spoil = Callable[[onnx.ModelProto], None]


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)


def test_the_example_is_the_tested_one() -> None:
    assert Path(gru.__file__).read_text(encoding="utf-8") in blocks("python")


def test_the_manifests_are_valid() -> None:
    least, most = map(parse_manifest, blocks("json"))
    assert least.vocabulary.size == 5
    assert most.labels == ("negative", "positive")
    fields = {*json.loads(blocks("json")[1]), *json.loads(blocks("json")[1])["vocabulary"]}
    for field in fields - {"vocabulary"}:
        assert re.search(rf"^\| `(vocabulary\.)?{field}` \|", PAGE, re.MULTILINE)


def in_manifest(before: str, after: str) -> Spoil:
    def spoil(model: onnx.ModelProto) -> None:
        entry = model.metadata_props[0]
        assert before in entry.value
        entry.value = entry.value.replace(before, after, 1)

    return spoil


def no_manifest(model: onnx.ModelProto) -> None:
    del model.metadata_props[:]


def other_token(model: onnx.ModelProto) -> None:
    model.graph.input[0].name = model.graph.node[0].input[1] = "ids"


def narrow_token(model: onnx.ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT32


def mask(model: onnx.ModelProto) -> None:
    value = helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["batch"])
    model.graph.input.append(value)


def batch_of_one(model: onnx.ModelProto) -> None:
    model.graph.input[1].type.tensor_type.shape.dim[0].dim_value = 1


def no_next_state(model: onnx.ModelProto) -> None:
    del model.graph.output[1]


def attention(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["attention"]))
    model.graph.output.append(gru.rows("attention", len(SYMBOLS)))


def daemons_name(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Identity", ["logits"], ["cellwire.logits"]))


@pytest.mark.parametrize(
    "spoil",
    [
        no_manifest,
        in_manifest('"version": 1', '"version": 2'),
        in_manifest("characters", "letters"),
        in_manifest('"b"', '"a"'),
        in_manifest('"symbols"', '"unknown": "<unk>", "symbols"'),
        in_manifest('"b", ', ""),
        in_manifest('"cell"', '"labels": ["good", "bad"], "cell"'),
        other_token,
        narrow_token,
        mask,
        batch_of_one,
        no_next_state,
        attention,
        daemons_name,
    ],
)
def test_the_page_quotes_the_daemon(tmp_path: Path, spoil: Spoil) -> None:
    assert (len(SYMBOLS), HIDDEN) == (29, 19)
    model = gru.gru_model(random_weights(layers=1), SYMBOLS)
    spoil(model)
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    with pytest.raises(BadModel) as caught:
        read_cell(path)
    for fault in caught.value.faults:
        assert f"    {fault}\n" in PAGE


TRIAL: dict[
    str, Any
] = {  # the functions and constants of trial_texts.py, with what the page's example has
    "token_fails": (28, 29, "node 'Gather of row' (Gather): ..."),
    "wrong_shape": ("logits", (1, 29), (3, 29)),
    "not_repeated": ({"RandomNormalLike"},),
    "BAKED_BATCH": {"rows": 2, "reason": "node 'Reshape of folded' (Reshape): ..."},
    "NOT_FINITE": {"name": "logits", "token": 7},
    "HEARS_OTHERS": {"name": "logits"},
    "CHANGES_NOTHING": {"name": "state.c"},
    "PROBABILITIES": {},
}


@pytest.mark.parametrize("name", TRIAL)
def test_the_page_quotes_the_trial(name: str) -> None:
    text, values = getattr(trial_texts, name), TRIAL[name]
    fault = text.format(**values) if isinstance(values, dict) else text(*values)
    quoted = [line.strip() for line in PAGE.splitlines() if line.startswith("    ")]
    assert any(_fits(line, fault) for line in quoted if line.endswith("..."))


def _fits(line: str, fault: str) -> bool:
    """Whether a line of the page is the beginning of a fault."""
    return len(line) > 3 and fault.startswith(line.removesuffix("..."))


def test_the_page_has_the_trials_numbers() -> None:
    for number in (
        f"at most {stored_file.MAX_MODEL_BYTES // 2**20:,} MiB",
        f"more than {trial._ROUNDING:.0e} of its greatest".replace("e-0", "e-"),
        f"may\ndiffer by {trial._CARD_ROUNDING:.0e}".replace("e-0", "e-"),
        f"(within {trial._SUM_ERROR})",
        f"reads {trial._MAX_TOKENS} tokens",
        f"{trial._MANY} rows",
        f"after {cell_trial.LIMIT_S:g} s",
    ):
        assert number in PAGE
    assert (trial._TEXTS, trial._STEPS, max(trial._COUNTS)) == (3, 8, 7)
