"""The recipes that come with Cellwire, by name."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from cellwire.exporter.errors import RecipeError

# In an installed package beside this package's rooms; in the source checkout in exporter/recipes.
_PLACES = (Path(__file__).parents[1] / "recipes", Path(__file__).parents[3] / "recipes")
_SUFFIX = ".toml"
_SENTENCE = re.compile(r"(?<=\.)\s+(?=[A-Z0-9])")


@dataclass(frozen=True, slots=True)
class PackagedRecipe:
    """A recipe's name and file."""

    name: str
    path: Path

    @property
    def description(self) -> str:
        """The first sentence of the comment at the beginning of the file."""
        lines = self.path.read_text(encoding="utf-8").splitlines()
        comment = []
        for line in lines:
            if not line.startswith("#"):
                break
            comment.append(line.removeprefix("#").strip())
        return _SENTENCE.split(" ".join(comment))[0]


def packaged_recipes() -> tuple[PackagedRecipe, ...]:
    """Return the recipes by name, in the order of the alphabet."""
    folder = next((place for place in _PLACES if place.is_dir()), None)
    paths = folder.glob(f"*{_SUFFIX}") if folder else ()
    return tuple(PackagedRecipe(path.stem, path) for path in sorted(paths, key=lambda p: p.stem))


def find_recipe(given: str) -> Path:
    """Return the file of a recipe that is given as a path or by name.

    RecipeError names the recipes there are, those of similar names first.
    """
    if _is_file(path := Path(given)):
        return path
    by_name = {recipe.name: recipe.path for recipe in packaged_recipes()}
    name = given.removesuffix(_SUFFIX)
    if name in by_name:
        return by_name[name]
    raise RecipeError(
        f"there is no file and no recipe {given!r}; there are the recipes: "
        f"{', '.join(nearest_first(Path(name).name, by_name)) or 'none'}"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # longer than any name can be; a zero byte
        return False


def nearest_first(name: str, names: Iterable[str]) -> list[str]:
    """Return `names`, those that are spelt like `name` first."""

    def difference(known: str) -> float:
        return -difflib.SequenceMatcher(None, name.lower(), known).ratio()

    return sorted(names, key=difference)
