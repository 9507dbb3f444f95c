"""How the sessions of a store are chosen and shown."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from cellwire.client.commands.operator_store import StoredFacts
from cellwire.client.commands.output import on_one_line, say

_SHOWN_DIGITS = 12  # of a SHA-256
_COLUMNS: tuple[tuple[str, JustifyMethod], ...] = (
    ("session", "left"),
    ("model", "left"),
    ("revision", "right"),
    ("tokens", "right"),
    ("safe", "left"),
    ("expires", "left"),
)
_MODEL = 1  # its place among the columns
_LEAST_MODEL = 6  # characters
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


def is_wanted(facts: StoredFacts, model: str | None, expired_at: float | None) -> bool:
    """Whether a session is one of a model, and has expired at a time; None: any, whenever."""
    if model is not None and model != facts.model and not _begins(facts.model_sha256, model):
        return False
    if expired_at is None:
        return True
    return facts.expires_s is not None and facts.expires_s <= expired_at


def _begins(sha256: str, digits: str) -> bool:
    return bool(digits) and sha256.startswith(digits.lower())


def json_line(facts: StoredFacts) -> str:
    """Return a session as a line of JSON; times are in UTC, as in ISO 8601."""
    if facts.damage:
        return _line({"session_id": facts.session_id, "damage": facts.damage})
    return _line(
        {
            "session_id": facts.session_id,
            "model": facts.model,
            "model_sha256": facts.model_sha256,
            "seed": facts.seed,
            "revision": facts.revision,
            "tokens": facts.tokens,
            "durability": facts.durability,
            "created": _time(facts.created_s),
            "expires": None if facts.expires_s is None else _time(facts.expires_s),
        }
    )


def _line(fields: Mapping[str, object]) -> str:
    return json.dumps(fields) + "\n"


def show_table(listed: Sequence[StoredFacts], now_s: float) -> None:
    """Write a table of sessions to stdout; say which are damaged, and how to learn more."""
    if not listed:
        say("no session in the store is as you say")
        return
    rows = [_row(facts, now_s) for facts in listed]
    others = sum(_width(rows, index) + 1 for index in range(len(_COLUMNS)) if index != _MODEL)
    console = Console()
    console.width = max(console.width, others + _LEAST_MODEL)  # a narrower terminal wraps the lines
    console.print(_table(rows, console.width))
    damaged = sum(bool(facts.damage) for facts in listed)
    if damaged:
        say(
            f"damaged: {damaged:,}; no other session is concerned. `cellwire sessions show ID "
            "--state DIR` says what was found, `delete` removes it"
        )


def _table(rows: Sequence[Sequence[str]], width: int) -> Table:
    # A narrow terminal shortens the models' names, and nothing else.
    left = width - sum(_width(rows, index) + 1 for index in range(len(_COLUMNS)))
    model_width = max(_LEAST_MODEL, _width(rows, _MODEL) + min(0, left + 1))
    gap = 2 if left >= len(_COLUMNS) else 1
    table = Table(box=None, pad_edge=False, padding=(0, gap, 0, 0), header_style="bold")
    for index, (name, justify) in enumerate(_COLUMNS):
        most = model_width if index == _MODEL else None
        table.add_column(name, no_wrap=True, overflow="ellipsis", justify=justify, max_width=most)
    for row in rows:
        table.add_row(*map(Text, row))
    return table


def _width(rows: Sequence[Sequence[str]], index: int) -> int:
    return max(len(_COLUMNS[index][0]), *(len(row[index]) for row in rows))


def _row(facts: StoredFacts, now_s: float) -> list[str]:
    session = on_one_line(facts.session_id)
    if facts.damage:
        return [session, "damaged", "", "", "", ""]
    return [
        session,
        on_one_line(facts.model) or facts.model_sha256[:_SHOWN_DIGITS],
        f"{facts.revision:,}",
        f"{facts.tokens:,}",
        facts.durability.removeprefix("safe_"),
        until(facts.expires_s, now_s),
    ]


def described(facts: StoredFacts) -> str:
    """Return what a store knows of a session, a line each."""
    expires = "never" if facts.expires_s is None else _time(facts.expires_s)
    model = f"{on_one_line(facts.model)} " if facts.model else ""
    return facts_as_lines(
        {
            "session": facts.session_id,
            "model": f"{model}(SHA-256 {facts.model_sha256})",
            "seed": facts.seed,
            "revision": f"{facts.revision:,}",
            "tokens": f"{facts.tokens:,}",
            "durability": facts.durability,
            "created": _time(facts.created_s),
            "expires": expires,
        }
    )


def facts_as_lines(facts: Mapping[str, object]) -> str:
    """Return facts by name, a line each."""
    width = max(map(len, facts)) + 2
    return "".join(f"{name + ':':<{width}}{fact}\n" for name, fact in facts.items())


def until(expires_s: float | None, now_s: float) -> str:
    """Return how long it is until a session expires, in one unit."""
    if expires_s is None:
        return "never"
    left_s = expires_s - now_s
    if left_s <= 0:
        return "expired"
    if left_s < 2 * _MINUTE_S:
        return f"in {left_s:.0f} s"
    if left_s < 2 * _HOUR_S:
        return f"in {left_s // _MINUTE_S:.0f} min"
    if left_s < 2 * _DAY_S:
        return f"in {left_s // _HOUR_S:.0f} h"
    return f"in {left_s // _DAY_S:.0f} d"


def _time(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds")
