from __future__ import annotations

from pathlib import Path

import pytest

from cellwire.exporter.errors import RecipeError
from cellwire.exporter.recipe.recipe import Recipe, to_tables
from cellwire.exporter.recipe.recipe_file import read_recipe


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refusal(path: Path | None, *settings: str) -> str:
    with pytest.raises(RecipeError) as error:
        read_recipe(path, settings)
    return str(error.value)


def test_without_a_file_it_is_the_built_in_recipe() -> None:
    recipe = read_recipe(None)
    assert recipe == Recipe()
    assert (recipe.network.layers, recipe.network.hidden, recipe.network.embedding) == (2, 256, 64)
    assert (recipe.optimizer.learning_rate, recipe.optimizer.weight_decay) == (0.004, 0.01)
    assert (recipe.batches.order, recipe.data.validation_fraction, recipe.run.seed) == (
        "carried",
        0.05,
        1,
    )


def test_missing_settings_have_their_defaults(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.toml", '[network]\ncell = "gru"\n')
    tables = to_tables(read_recipe(path))
    tables["network"]["cell"] = "lstm"
    assert tables == to_tables(Recipe())


def test_settings_override_the_file_and_the_last_one_counts(tmp_path: Path) -> None:
    path = written(tmp_path / "mine.toml", "[network]\nhidden = 8\nlayers = 3\n")
    settings = [
        "network.hidden=16",
        'network.cell="rnn"',
        "network.hidden = 32",
        "data.symbols=words",
    ]
    recipe = read_recipe(path, settings)
    assert (recipe.network.hidden, recipe.network.layers) == (32, 3)
    assert (recipe.network.cell, recipe.data.symbols) == ("rnn", "words")


def test_the_smoke_table_applies_with_smoke_only(tmp_path: Path) -> None:
    text = "[network]\nhidden = 8\nlayers = 3\n[smoke]\nnetwork.hidden = 4\nrun.steps = 2\n"
    path = written(tmp_path / "mine.toml", text)
    assert read_recipe(path).network.hidden == 8
    smoke = read_recipe(path, ["run.steps=5"], smoke=True)
    assert (smoke.network.hidden, smoke.network.layers, smoke.run.steps) == (4, 3, 5)
    with pytest.raises(RecipeError, match=r"no \[smoke\] table"):
        read_recipe(None, smoke=True)


def test_paths_are_relative_to_the_recipe(tmp_path: Path) -> None:
    text = '[data]\nsymbols = "words"\n[network]\ninput = "vectors"\nvectors = "../vectors.txt"\n'
    path = written(tmp_path / "mine.toml", text)
    assert read_recipe(path).network.vectors == str(tmp_path.parent / "vectors.txt")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "[network]\nhiden = 8",
            "network: Object contains unknown field `hiden`; there are: cell,",
        ),
        ("[netwerk]\nhidden = 8", "unknown field `netwerk`; there are: data, network, batches"),
        ('[network]\ncell = "lstn"', "network.cell: Invalid enum value 'lstn'; one of: gru, lstm,"),
        ("[network]\nhidden = 0", "network.hidden: Expected `int` >= 1"),
        ('[network]\nhidden = "many"', "network.hidden: Expected `int`, got `str`"),
        ("[optimizer]\nlearning_rate = nan", "optimizer.learning_rate: Expected `float` >= 0.0"),
        ("[optimizer]\nlearning_rate = inf", "learning_rate is inf, and must be a finite number"),
        ("[run]\nsample_prompts = [1]", "run.sample_prompts.0: Expected `str`, got `int`"),
        ('[network]\ninput = "vectors"', "go together"),
        ('[network]\nvectors = "some.txt"', "go together"),
        (
            '[network]\ninput = "vectors"\nvectors = "some.txt"',
            'network.input = "vectors" needs data.symbols = "words"',
        ),
        ('[data]\nkind = "labelled"\n[run]\nsample_every = 1', "a classifier generates no text"),
        ('[data]\nkind = "labelled"\nvalidation_fraction = 0.0', "labelled texts must be held out"),
        ("[network", "not TOML"),
        ("hidden = 8", "unknown field `hidden`"),
        ("[smoke]\nrun.steps = 1\nnetwork = 3", ""),
    ],
)
def test_a_fault_is_named_with_its_file_and_key(tmp_path: Path, text: str, words: str) -> None:
    path = written(tmp_path / "mine.toml", text)
    with pytest.raises(RecipeError) as error:
        read_recipe(path, smoke="[smoke]" in text)
    assert str(error.value).startswith(str(path))
    assert words in str(error.value)


def test_invalid_settings_are_refused() -> None:
    assert "write table.key=value" in refusal(None, "hidden=8")
    assert "write table.key=value" in refusal(None, "network.hidden")
    assert "network.hidden: Expected `int`, got `str`" in refusal(None, "network.hidden=many")
    assert "with network.hidden=0: network.hidden" in refusal(None, "network.hidden=0")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    assert refusal(tmp_path / "none.toml").endswith("none.toml: No such file or directory")


@pytest.mark.parametrize(
    ("kind", "setting"),
    [
        ("labelled", "data.first_characters=100"),
        ("text", "data.source=imdb"),
        ("text", "data.length=9"),
    ],
)
def test_a_setting_without_effect_is_refused(kind: str, setting: str) -> None:
    name = setting.partition("=")[0]
    with pytest.raises(RecipeError, match=f"{name} does not apply to data.kind = .{kind}"):
        read_recipe(None, [f"data.kind={kind}", "data.symbols=words", setting])
