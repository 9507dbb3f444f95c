"""Recipes by name, from the source checkout and from an installed wheel."""

from __future__ import annotations

from pathlib import Path

import pytest

from cellwire.exporter.errors import RecipeError
from cellwire.exporter.recipe.packaged import find_recipe, nearest_first, packaged_recipes

RECIPES = Path(__file__).parents[3] / "exporter" / "recipes"


def test_every_recipe_of_the_checkout_has_a_name_and_a_description() -> None:
    recipes = packaged_recipes()
    assert [recipe.path for recipe in recipes] == sorted(
        RECIPES.glob("*.toml"), key=lambda path: path.stem
    )
    for recipe in recipes:
        assert recipe.description.endswith("."), recipe.name
        assert "\n" not in recipe.description
    assert recipes[2].description == (
        "The built-in model, first of three cycles: a high learning rate over the whole text."
    )


def test_an_installed_package_has_them_beside_its_rooms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "b.toml").write_text("# Second.\n")
    (tmp_path / "a.toml").write_text("[network]\n")
    monkeypatch.setattr("cellwire.exporter.recipe.packaged._PLACES", (tmp_path / "none", tmp_path))
    assert [(recipe.name, recipe.description) for recipe in packaged_recipes()] == [
        ("a", ""),
        ("b", "Second."),
    ]


def test_a_name_or_a_path_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_recipe("austen-1") == find_recipe("austen-1.toml") == RECIPES / "austen-1.toml"
    assert find_recipe(str(RECIPES / "anna.toml")) == RECIPES / "anna.toml"
    (tmp_path / "austen-1").mkdir()
    assert find_recipe("austen-1") == RECIPES / "austen-1.toml"
    (tmp_path / "austen-2").write_text("")
    assert find_recipe("austen-2") == Path("austen-2")


@pytest.mark.parametrize("name", ["austin-1", "./austin-1.toml", "x" * 5_000, "a\0b", "\udce9"])
def test_other_names_are_refused_with_those_there_are(name: str) -> None:
    with pytest.raises(RecipeError):
        find_recipe(name)


def test_similar_names_come_first() -> None:
    with pytest.raises(RecipeError, match=r"no recipe 'austin-1'; there are .*: austen-1, austen-"):
        find_recipe("austin-1")
    assert nearest_first("Nietzsche", ["anna", "nietzsche-ours"]) == ["nietzsche-ours", "anna"]


def test_without_any_recipe_the_message_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cellwire.exporter.recipe.packaged._PLACES", (tmp_path / "none",))
    with pytest.raises(RecipeError, match="there is no file and no recipe 'anna'"):
        find_recipe("anna")
