"""The reading of a recipe: a TOML file, its `[smoke]` table, and single settings on top.

[network]
hidden = 512

[smoke]                 # changes for --smoke, so that a training takes seconds
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

Tables = dict[str, Any]  # by name, not yet checked


def read_recipe(path: Path | None, settings: Sequence[str] = (), *, smoke: bool = False) -> Recipe:
    """Return the recipe in `path`, or the built-in one, with `settings` ("table.key=value") in it.

    RecipeError names the file or the setting, the key, and the allowed values.
    """
    name = str(path) if path else BUILT_IN
    tables = _read(path) if path else {}
    changes = tables.pop(SMOKE, {})
    recipe = _convert(tables, name)
    if smoke:
        if not changes:
            raise RecipeError(f"{name} has no [{SMOKE}] table, which --smoke applies")
        tables = _merge(tables, changes)
        recipe = _convert(tables, f"{name}, [{SMOKE}]")
    if settings:
        for setting in settings:
            tables = _merge(tables, _parse_setting(setting))
        recipe = _convert(tables, f"{name} with {', '.join(settings)}")
    return recipe


def _read(path: Path) -> Tables:
    """Return a file's tables; paths in them are resolved relative to the file."""
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecipeError(f"{path}: {error.strerror}") from error
    except (ValueError, RecursionError) as error:  # not TOML or UTF-8; a number of 5,000 digits
        raise RecipeError(f"{path}: not TOML: {error}") from error
    network = tables.get("network")
    vectors = network.get("vectors") if isinstance(network, dict) else None
    if isinstance(network, dict) and isinstance(vectors, str) and "\0" not in vectors:
        network["vectors"] = str((path.parent / vectors).resolve())
    return tables


def _parse_setting(setting: str) -> Tables:
    """Return "table.key=value" as tables; the value may be a string without quotes.

    No value, or null, unsets a setting that has a default of none.
    """
    try:
        setting.encode()
    except UnicodeEncodeError as error:
        raise RecipeError(f"--set {setting}: not UTF-8") from error
    name, equals, value = setting.partition("=")
    table, dot, key = name.strip().partition(".")
    if not (equals and dot and table and key):
        raise RecipeError(
            f"--set {setting}: write table.key=value, for example --set network.hidden=512"
        )
    return {table: {key: _parse_value(value.strip(), _type_of([table, key]))}}


def _parse_value(value: str, type_info: inspect.Type | None) -> object:
    """Return a value as TOML would, or as a string if it is not TOML."""
    optional = isinstance(type_info, inspect.UnionType) and type_info.includes_none
    if value in {"", "null"} and optional:
        return None
    try:
        return tomllib.loads(f"value = {value}")["value"]
    except (ValueError, RecursionError):
        return value


def _type_of(keys: Sequence[str]) -> inspect.Type | None:
    """Return the type of a table or setting; None if there is none of this name."""
    type_info: inspect.Type | None = inspect.type_info(Recipe)
    for key in keys:
        if not isinstance(type_info, inspect.StructType):
            break
        type_info = next((f.type for f in type_info.fields if f.name == key), None)
    return type_info


def _merge(tables: Tables, changes: Tables) -> Tables:
    """Return `tables` with the keys of `changes` replaced, at every depth."""
    merged = dict(tables)
    for name, value in changes.items():
        current = merged.get(name)
        if isinstance(current, dict) and isinstance(value, dict):
            merged[name] = _merge(current, value)
        else:
            merged[name] = value
    return merged


def _convert(tables: Tables, name: str) -> Recipe:
    try:
        name.encode()
        return msgspec.convert(tables, Recipe)
    except UnicodeEncodeError as error:
        raise RecipeError(f"{name!a}: a character is broken; write settings in UTF-8") from error
    except (msgspec.ValidationError, OverflowError, RecursionError) as error:
        raise RecipeError(f"{name}: {_explain(str(error))}") from error


def _explain(message: str) -> str:
    """Turn msgspec's "fault - at `$.table.key`" into "table.key: fault" and the allowed values."""
    fault, _, path = message.partition(" - at `$")
    keys = [key for key in re.split(r"[.\[\]`]", path) if key]
    return f"{'.'.join(keys)}: {fault}{_allowed(_type_of(keys), fault)}".removeprefix(": ")


def _allowed(type_info: inspect.Type | None, fault: str) -> str:
    if isinstance(type_info, inspect.StructType) and "unknown field" in fault:
        return f"; there are: {', '.join(field.name for field in type_info.fields)}"
    if isinstance(type_info, inspect.LiteralType):
        return f"; one of: {', '.join(map(str, type_info.values))}"
    return ""
