"""A daemon's settings from flags, environment variables and a file, in this order of precedence."""

from __future__ import annotations

import math
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cellwire.server.host.config import Config, Setting, settings

_SHOWN_CHARS = 80
_SWITCHES = {"1": True, "true": True, "0": False, "false": False}
_SCHEMES = ("redis://", "rediss://", "unix://")
_WANTED = {
    "text": "a text",
    "path": "a path",
    "place": "a folder or redis://HOST:PORT/DB",
    "integer": "a whole number",
    "number": "a number",
    "switch": "true or false",
}


class BadConfig(Exception):
    """A setting has a value it cannot have, or there is no setting of that name."""


def read_config(
    flags: Mapping[str, Any], environment: Mapping[str, str], file: Path | None
) -> Config:
    """Return the configuration; BadConfig names the source, the setting and what is wrong.

    `flags` are by the names of the settings; None stands for a flag that was not given.
    """
    values: dict[str, Any] = {}
    stored = {} if file is None else _read_file(file)
    for setting in settings():
        if flags.get(setting.name) is not None:
            values[setting.field] = _parse(setting, flags[setting.name], setting.flag)
        elif environment.get(setting.variable):  # an empty one counts as unset
            value = _from_variable(setting, environment[setting.variable])
            values[setting.field] = _parse(setting, value, setting.variable)
        elif setting.name in stored:
            assert file is not None
            source = f"{file}: {setting.name}"
            values[setting.field] = _parse(setting, stored[setting.name], source, file.parent)
    return Config(**values)


def _read_file(file: Path) -> dict[str, Any]:
    try:
        with file.open("rb") as opened:
            stored = tomllib.load(opened)
    except OSError as error:
        raise BadConfig(f"cannot read {file}: {error.strerror}") from error
    except ValueError as error:  # not TOML, or not UTF-8
        raise BadConfig(f"{file} is not TOML: {error}") from error
    names = [setting.name for setting in settings()]
    for name in stored:
        if name not in names:
            raise BadConfig(f"{file}: there is no setting {name!r}; there are: {', '.join(names)}")
    return stored


def _from_variable(setting: Setting, text: str) -> str | list[str]:
    """Return a variable's value; several are separated as in PATH."""
    return [part for part in text.split(os.pathsep) if part] if setting.repeated else text


def _parse(setting: Setting, value: Any, source: str, folder: Path = Path()) -> Any:  # noqa: ANN401
    """Return a setting's value from what a source holds; paths are relative to `folder`."""
    if not setting.repeated:
        return _parse_one(setting, value, source, folder)
    values = value if isinstance(value, list) else [value]
    if not values:
        raise BadConfig(f"{source} is empty; it must hold at least one value")
    return tuple(_parse_one(setting, one, source, folder) for one in values)


def _parse_one(setting: Setting, value: Any, source: str, folder: Path) -> Any:  # noqa: ANN401
    try:
        parsed = _converted(setting, value, folder)
    except (ValueError, OverflowError):
        wanted = " or ".join(setting.choices) or _WANTED[setting.kind]
        raise BadConfig(f"{source} is {_shown(value)}; it must be {wanted}") from None
    if setting.minimum is not None and not setting.minimum <= parsed:
        raise BadConfig(f"{source} is {value}; it must be at least {setting.minimum:g}")
    if setting.name == "model_folder" and not parsed.is_dir():
        raise BadConfig(f"{source} is {value!r}; there is no such folder")
    return parsed


def _shown(value: Any) -> str:  # noqa: ANN401
    shown = repr(value)
    return shown if len(shown) <= _SHOWN_CHARS else shown[:_SHOWN_CHARS] + "..."


def _converted(setting: Setting, value: Any, folder: Path) -> Any:  # noqa: ANN401
    """Return a value of the setting's kind, from a text or a value of TOML; ValueError."""
    match setting.kind, value:
        case "switch", bool() | str():
            return value if isinstance(value, bool) else _switch(value)
        case "place", str() if value:
            return _place(value, folder)
        case (("text" | "path"), str()) if value:
            if setting.kind == "path":
                return folder / value
            if not setting.choices or value in setting.choices:
                return value
        case "integer", str() | int() if not isinstance(value, bool):
            return int(value)
        case "number", str() | int() | float() if not isinstance(value, bool):
            if math.isfinite(number := float(value)):
                return number
    raise ValueError


def _switch(text: str) -> bool:
    if text.lower() not in _SWITCHES:
        raise ValueError
    return _SWITCHES[text.lower()]


def _place(text: str, folder: Path) -> Path | str:
    """Return a folder, or the address of a server; ValueError."""
    if "://" not in text:
        return folder / text
    if not text.startswith(_SCHEMES):
        raise ValueError
    return text
