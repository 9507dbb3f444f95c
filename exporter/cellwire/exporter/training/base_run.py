"""The run that a training starts from: its symbols, labels and sizes are taken over."""

from __future__ import annotations

from pathlib import Path

from cellwire.exporter.data.known import Known
from cellwire.exporter.errors import RunError
from cellwire.exporter.recipe.recipe import Recipe, to_tables
from cellwire.exporter.runs.run_config import RunConfig
from cellwire.exporter.runs.run_folder import RunFolder

_SAME = {
    "data": ("kind", "symbols", "html", "newlines", "unicode_form", "lower_case"),
    "network": ("cell", "layers", "hidden", "input"),
}
_WIDTH = "embedding"  # counts if there is an embedding


def known_to(start_from: Path | None, recipe: Recipe) -> Known | None:
    """Return what the base of a training knows; None without a base.

    RunError names the settings that differ from the base's, and how to set them.
    """
    if start_from is None:
        return None
    base = RunFolder.open(start_from).config
    different = _different(recipe, base)
    if different:
        found = ", ".join(f"{name} = {value} (here {here})" for name, here, value in different)
        options = " ".join(f"--set {name}={value}" for name, _, value in different)
        raise RunError(f"{start_from} was trained with {found}; to start from it, add {options}")
    return base.known


def _different(recipe: Recipe, base: RunConfig) -> list[tuple[str, str, str]]:
    """Return the settings that must be alike and are not: name, value here, value of the base."""
    here, there = to_tables(recipe), to_tables(base.recipe)
    here["data"]["html"], there["data"]["html"] = (
        recipe.data.reads_html,
        base.recipe.data.reads_html,
    )
    same = [(table, key) for table, keys in _SAME.items() for key in keys]
    if recipe.network.input == base.recipe.network.input == _WIDTH:
        same.append(("network", _WIDTH))
    return [
        (f"{table}.{key}", _shown(here[table][key]), _shown(there[table][key]))
        for table, key in same
        if here[table][key] != there[table][key]
    ]


def _shown(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
