"""Every recipe of the source checkout runs with its smoke table."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.exporter.trainings import reviews

from cellwire.exporter.data.corpus import Corpus
from cellwire.exporter.data.plan import Plan, fit_to_text, total_steps
from cellwire.exporter.recipe.recipe_file import read_recipe
from cellwire.exporter.runs.run_folder import RunFolder
from cellwire.exporter.training.compute import CPU
from cellwire.exporter.training.start import start_training

EXPORTER = Path(__file__).parents[3] / "exporter"
RECIPES = sorted((EXPORTER / "recipes").glob("*.toml"))


def text_for(recipe: Path, tmp_path: Path) -> Path:
    """Return a text that a recipe can read."""
    if recipe.stem.startswith("reviews"):
        return reviews(tmp_path / "reviews.csv")
    name = "songci-xinqiji.txt" if recipe.stem.startswith("lyrics") else "austen.txt"
    return EXPORTER / "corpora" / name


def test_all_recipes_are_found() -> None:
    assert len(RECIPES) == 16


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs(recipe: Path, tmp_path: Path) -> None:
    text = Corpus.read(text_for(recipe, tmp_path))
    training, _ = start_training(text, read_recipe(recipe, smoke=True), tmp_path / "run", None, CPU)
    training.run(lambda _: None)
    run = RunFolder.open(tmp_path / "run")
    assert [p.step for p in run.read_metrics()] == [2, 3]
    assert run.load("best.pt").measure.is_finite
    assert run.has("samples.txt") != recipe.stem.startswith("reviews")
    assert recipe.read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize(
    ("name", "characters", "steps"),
    [
        ("nietzsche-source", 600_894, 5_000),
        ("nietzsche-ours", 600_894, 2_500),
        ("lyrics-source-random", 10_000, 2_000),
        ("lyrics-source-carried", 10_000, 2_000),
        ("lyrics-ours", 10_000, 2_000),
        ("anna", 1_985_223, 3_560),
        ("anna-ours", 1_985_223, 4_360),
        ("austen-1", 4_025_038, 6_990),
        ("austen-2", 4_025_038, 3_728),
        ("austen-3", 4_025_038, 291),
    ],
)
def test_a_recipe_takes_the_intended_number_of_steps(
    name: str, characters: int, steps: int
) -> None:
    recipe = read_recipe(EXPORTER / "recipes" / f"{name}.toml")
    train_tokens = characters - round(characters * recipe.data.validation_fraction)
    train_tokens = min(train_tokens, recipe.data.last_tokens or train_tokens)
    fitted = fit_to_text(recipe, train_tokens)
    plan = Plan.fit(train_tokens, fitted.batches.lanes, fitted.batches.window)
    assert fitted.batches.lanes == recipe.batches.lanes
    assert total_steps(fitted.run, plan.epoch_steps) == steps
