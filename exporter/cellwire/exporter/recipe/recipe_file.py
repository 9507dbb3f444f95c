"""A recipe as it is asked for: a TOML file, its `[smoke]` table, and single settings on top.

[network]
hidden = 512

[smoke]                 # what --smoke changes, so that a run takes seconds
network.hidden = 16
run.steps = 3
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
from msgspec import inspect

from cellwire.exporter.errors import RecipeError
from cellwire.exporter.recipe.recipe import Recipe

SMOKE = "smoke"
BUILT_IN = "the built-in recipe"

Tables = dict[str, Any]  # by name; what msgspec has not yet checked


def read_recipe(path: Path | None, settings: Sequence[str] = (), *, smoke: bool = False) -> Recipe:
    """Return the recipe in `path`, or the built-in one, with `settings` ("table.key=value") in it.

    RecipeError names the file or the setting, the key, and what is allowed there.
    """
    name = str(path) if path else BUILT_IN
    tables = _read(path) if path else {}
    changes = tables.pop(SMOKE, {})
    recipe = _checked(tables, name)
    if smoke:
        if not changes:
            raise RecipeError(f"{name} has no [{SMOKE}] table, which is what --smoke applies")
        tables = _merged(tables, changes)
        recipe = _checked(tables, f"{name}, [{SMOKE}]")
    if settings:
        for setting in settings:
            tables = _merged(tables, _parsed(setting))
        recipe = _checked(tables, f"{name} with {', '.join(settings)}")
    return recipe


def _read(path: Path) -> Tables:
    """Return a file's tables; the files it names are found from where it lies."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise RecipeError(f"{path}: not TOML: {error}") from error
    network = tables.get("network")
    if isinstance(network, dict) and isinstance(network.get("vectors"), str):
        network["vectors"] = str((path.parent / network["vectors"]).resolve())
    return tables


def _parsed(setting: str) -> Tables:
    """Return the table that "table.key=value" stands for; a value need not have quotes."""
    names, equals, value = setting.partition("=")
    table, dot, key = names.strip().partition(".")
    if not (equals and dot and table and key):
        raise RecipeError(
            f"--set {setting}: write table.key=value, for example --set network.hidden=512"
        )
    try:
        parsed = tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    return {table: {key: parsed}}


def _merged(tables: Tables, changes: Tables) -> Tables:
    """Return `tables` with all keys of `changes` in them."""
    merged = dict(tables)
    for name, value in changes.items():
        below = merged.get(name)
        if isinstance(below, dict) and isinstance(value, dict):
            merged[name] = _merged(below, value)
        else:
            merged[name] = value
    return merged


def _checked(tables: Tables, name: str) -> Recipe:
    try:
        return msgspec.convert(tables, Recipe)
    except msgspec.ValidationError as error:
        raise RecipeError(f"{name}: {_explained(str(error))}") from error


def _explained(complaint: str) -> str:
    """Turn msgspec's "what - at `$.table.key`" into the key, what is wrong, and what is allowed."""
    what, _, place = complaint.partition(" - at `$")
    keys = [key for key in re.split(r"[.\[\]`]", place) if key]
    here = inspect.type_info(Recipe)
    for key in keys:
        if isinstance(here, inspect.StructType):
            here = next(field.type for field in here.fields if field.name == key)
    return f"{'.'.join(keys)}: {what}{_allowed(here, what)}".removeprefix(": ")


def _allowed(here: inspect.Type, what: str) -> str:
    if isinstance(here, inspect.StructType) and "unknown field" in what:
        return f"; there are: {', '.join(field.name for field in here.fields)}"
    if isinstance(here, inspect.LiteralType):
        return f"; one of: {', '.join(map(str, here.values))}"
    return ""
