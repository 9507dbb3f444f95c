"""The kinds of cells: one for each file in `cells/`, named as the file.

Listing them imports none, so that a recipe can be checked without torch.
"""

from __future__ import annotations

import importlib
import pkgutil
from typing import TYPE_CHECKING, Literal

from cellwire.exporter.network import cells

if TYPE_CHECKING:
    from cellwire.exporter.network.cell import CellKind

KINDS: tuple[str, ...] = tuple(
    sorted(module.name for module in pkgutil.iter_modules(cells.__path__))
)

if TYPE_CHECKING:
    Kind = str
else:
    Kind = Literal[KINDS]  # msgspec accepts these names only


def cell_kind(kind: Kind) -> CellKind:
    """Return the cell of a kind in KINDS."""
    module = importlib.import_module(f"{cells.__name__}.{kind}")
    cell: CellKind = module.CELL
    return cell
