"""`cellwire train --list-recipes`."""

from __future__ import annotations

import typer

from cellwire.exporter.commands.console import print_result, stdout_console
from cellwire.exporter.recipe.packaged import packaged_recipes


def print_recipes(asked: bool) -> None:  # noqa: FBT001  # as typer calls it
    """Print the packaged recipes, a line each, and end the command; nothing if not `asked`."""
    if not asked:
        return
    recipes = packaged_recipes()
    name_columns = max((len(recipe.name) for recipe in recipes), default=0)
    for recipe in recipes:
        line = f"{recipe.name.ljust(name_columns)}  {recipe.description}"
        columns = stdout_console.width if stdout_console.is_terminal else len(line)
        print_result(line if len(line) <= columns else f"{line[: columns - 3]}...")
    raise typer.Exit
