"""How docs/protocol.md shows a message: compact, with long lists and texts left out."""

from __future__ import annotations

import json
from typing import Any

WIDTH = 104

_MOST_ITEMS = 8  # of a list, before most of it is left out
_FIRST_ITEMS = 4
_MOST_CHARS = 160
_FIRST_CHARS = 80
_LEFT_OUT = "..."


def elided(value: Any, key: str = "") -> Any:  # noqa: ANN401  # any value of JSON
    """Return a value with what is long left out, and numbers to six digits."""
    if isinstance(value, dict):
        if key == "model":  # the page shows one in full, in a list of all
            value = {"name": value["name"], _LEFT_OUT: 0}
        return {name: elided(member, name) for name, member in value.items()}
    if isinstance(value, list):
        shown = value if len(value) <= _MOST_ITEMS else [*value[:_FIRST_ITEMS], _LEFT_OUT]
        return [elided(item) for item in shown]
    if isinstance(value, str) and len(value) > _MOST_CHARS:
        return value[:_FIRST_CHARS] + _LEFT_OUT
    return float(f"{value:.6g}") if isinstance(value, float) else value


def laid_out(value: Any, indent: int = 2, column: int = 2) -> str:  # noqa: ANN401
    """Return a value that begins in a column as JSON, broken where it is too wide for one line."""
    flat = _flat(value)
    if column + len(flat) <= WIDTH or not isinstance(value, dict | list):
        return flat
    inner = indent + 2
    if isinstance(value, list):
        items = [laid_out(item, inner, inner) for item in value]
        return "[" + _filled(items, inner) + "]"
    *first, (last, content) = value.items()
    start = "".join(f'"{name}": {_flat(member)}, ' for name, member in first) + f'"{last}": '
    outermost, long = column == indent, inner + len(last) + 4 + len(_flat(content)) > WIDTH
    if isinstance(content, dict | list) and (outermost or long) and column + len(start) <= WIDTH:
        return "{" + start + laid_out(content, indent, column + len(start) + 1) + "}"
    names = ((f'"{name}": ', member) for name, member in value.items())
    members = [name + laid_out(member, inner, inner + len(name)) for name, member in names]
    return "{" + _filled(members, inner) + "}"


def _filled(parts: list[str], indent: int) -> str:
    """Put parts on lines of their own, or several short ones on one."""
    lines: list[str] = []
    for part in parts:
        wide = not lines or indent + len(lines[-1]) + len(part) + 3 > WIDTH
        if wide or "\n" in lines[-1] + part or part.startswith(("{", "[")):
            lines.append(part)
        else:
            lines[-1] += f", {part}"
    pad = "\n" + " " * indent
    return ",".join(pad + line for line in lines)


def _flat(value: Any) -> str:  # noqa: ANN401
    text = json.dumps(value, ensure_ascii=False)
    return text.replace(f'"{_LEFT_OUT}": 0', _LEFT_OUT).replace(f'"{_LEFT_OUT}"', _LEFT_OUT)
