"""Settings from flags, the environment and a file: what each may hold, and which of them wins."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner, Result

from cellwire.model_file.cell import BUILT_IN_MODEL
from cellwire.server import cli
from cellwire.server.host.config import Config, settings
from cellwire.server.host.config_sources import BadConfig, read_config

SETTINGS = {setting.name: setting for setting in settings()}
GOOD = {
    "listen": ("0.0.0.0:7", "0.0.0.0:7"),
    "model": ("a.onnx", (Path("a.onnx"),)),
    "model_folder": (".", Path()),
    "sessions": ("5", 5),
    "slots": ("70", 70),
    "max_batch": ("8", 8),
    "provider": ("cpu", "cpu"),
    "device": ("1", 1),
    "fixed_batch": ("true", True),
    "threads": ("3", 3),
    "text_memory": ("64", 64),
    "state": ("sessions", Path("sessions")),
    "state_sync": ("normal", "normal"),
    "state_on_network": ("warn", "warn"),
    "state_replicas": ("2", 2),
    "lease_s": ("1.5", 1.5),
    "resident": ("100", 100),
    "drain_timeout_s": ("2.5", 2.5),
}
BAD = {
    "listen": [""],
    "model": [""],
    "model_folder": ["nowhere", ""],
    "sessions": ["0", "-1", "x", "", "1.5", "9" * 5_000],
    "slots": ["6"],
    "max_batch": ["0"],
    "provider": ["tpu", ""],
    "device": ["-1"],
    "fixed_batch": ["yes", ""],
    "threads": ["0"],
    "text_memory": ["0", "1.5"],
    "state": ["", "postgres://host/db"],
    "state_sync": ["off", ""],
    "state_on_network": ["allow", ""],
    "state_replicas": ["-1", "x"],
    "lease_s": ["0.1", "x"],
    "resident": ["-1", "x"],
    "drain_timeout_s": ["-0.1", "nan", "inf", "soon"],
}
BAD_PAIRS = [(name, value) for name, values in BAD.items() for value in values]


def file_with(folder: Path, content: str) -> Path:
    path = folder / "cellwire.toml"
    path.write_text(content, encoding="utf-8")
    return path


def value_of(config: Config, name: str) -> object:
    return getattr(config, SETTINGS[name].field)


def test_every_setting_is_tried_here() -> None:
    assert list(GOOD) == list(BAD) == list(SETTINGS)


def test_without_any_source_everything_is_default() -> None:
    assert read_config({}, {}, None) == Config()
    assert Config().models == (BUILT_IN_MODEL,)


@pytest.mark.parametrize("name", GOOD)
def test_each_source_sets_each_setting(name: str, tmp_path: Path) -> None:
    text, value = GOOD[name]
    variable = SETTINGS[name].variable
    assert value_of(read_config({name: text}, {}, None), name) == value
    assert value_of(read_config({}, {variable: text}, None), name) == value
    stored = file_with(tmp_path, f'{name} = "{text}"')
    found = value_of(read_config({}, {}, stored), name)
    if SETTINGS[name].kind in {"path", "place"}:  # relative to the file
        value = (tmp_path / value[0],) if isinstance(value, tuple) else tmp_path / str(value)
    assert found == value


@pytest.mark.parametrize("url", ["redis://127.0.0.1:6379/0", "rediss://:word@host/2"])
def test_the_state_may_be_a_server(url: str, tmp_path: Path) -> None:
    assert read_config({"state": url}, {}, None).state == url
    assert read_config({}, {}, file_with(tmp_path, f'state = "{url}"')).state == url


def test_a_flag_beats_the_environment_and_that_the_file(tmp_path: Path) -> None:
    stored = file_with(tmp_path, "sessions = 1\nmax_batch = 1\nthreads = 1\n")
    environment = {"CELLWIRE_SESSIONS": "2", "CELLWIRE_MAX_BATCH": "2"}
    config = read_config({"sessions": "3", "max_batch": None}, environment, stored)
    assert (config.sessions, config.max_batch, config.threads) == (3, 2, 1)


def test_a_switch_can_be_turned_off_again() -> None:
    environment = {"CELLWIRE_FIXED_BATCH": "1"}
    assert read_config({}, environment, None).fixed_batch
    assert not read_config({"fixed_batch": False}, environment, None).fixed_batch


def test_several_models_come_from_every_source(tmp_path: Path) -> None:
    paths = (tmp_path / "a.onnx", tmp_path / "b.onnx")
    several = [str(path) for path in paths]
    assert read_config({"model": several}, {}, None).models == paths
    assert read_config({}, {"CELLWIRE_MODEL": os.pathsep.join(several)}, None).models == paths
    stored = file_with(tmp_path, 'model = ["a.onnx", "b.onnx"]')
    assert read_config({}, {}, stored).models == paths


def test_a_file_has_values_of_toml(tmp_path: Path) -> None:
    stored = file_with(tmp_path, "fixed_batch = true\ndrain_timeout_s = 3\nsessions = 9\n")
    config = read_config({}, {}, stored)
    assert (config.fixed_batch, config.drain_timeout_s, config.sessions) == (True, 3.0, 9)


def test_an_empty_variable_counts_as_unset() -> None:
    environment = {setting.variable: "" for setting in SETTINGS.values()}
    assert read_config({}, environment, None) == read_config({}, {}, None)
    model = {"CELLWIRE_MODEL": os.pathsep.join(["a.onnx", ""])}
    assert read_config({}, model, None).models == (Path("a.onnx"),)


def test_a_long_bad_value_is_shown_in_part() -> None:
    with pytest.raises(BadConfig) as refused:
        read_config({}, {"CELLWIRE_SESSIONS": "x" * 5_000}, None)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize(("name", "value"), BAD_PAIRS)
def test_a_bad_value_is_named_with_its_source(name: str, value: str, tmp_path: Path) -> None:
    setting = SETTINGS[name]
    stored = file_with(tmp_path, f'{name} = "{value}"')
    sources: list[tuple[Any, Any, Any, str]] = [
        ({name: value}, {}, None, setting.flag),
        ({}, {setting.variable: value}, None, setting.variable),
        ({}, {}, stored, f"{stored}: {name}"),
    ]
    if not value:  # an empty variable counts as unset: see below
        del sources[1]
    for flags, environment, file, source in sources:
        with pytest.raises(BadConfig) as refused:
            read_config(flags, environment, file)
        assert str(refused.value).startswith(f"{source} is ")
        assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("sesions = 5", "there is no setting 'sesions'; there are: listen, model,"),
        ("[daemon]\nsessions = 5", "there is no setting 'daemon'"),
        ("sessions = true", "sessions is True; it must be a whole number"),
        ("sessions = 1.5", "sessions is 1.5; it must be a whole number"),
        ("sessions = [1]", "sessions is [1]; it must be a whole number"),
        ("provider = 7", "provider is 7; it must be auto or cuda or cpu"),
        ("fixed_batch = 1", "fixed_batch is 1; it must be true or false"),
        ("model = []", "model is empty"),
        ("listen = {}", "listen is {}; it must be a text"),
        ("sessions", "is not TOML"),
    ],
)
def test_a_bad_file_is_named(tmp_path: Path, content: str, words: str) -> None:
    stored = file_with(tmp_path, content)
    with pytest.raises(BadConfig) as refused:
        read_config({}, {}, stored)
    assert str(refused.value).startswith(str(stored))
    assert words in str(refused.value)


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match=r"cannot read .*nowhere\.toml: No such file"):
        read_config({}, {}, tmp_path / "nowhere.toml")


def invoke(*arguments: str) -> Result:
    app = typer.Typer()
    app.command()(cli.serve)
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, arguments)


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch) -> list[Config]:
    """The configurations that daemons would be started with."""
    configs: list[Config] = []

    async def serve(config: Config) -> None:
        configs.append(config)

    monkeypatch.setattr(cli, "_serve", serve)
    return configs


def test_the_command_reads_all_three_sources(
    served: list[Config], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CELLWIRE_MAX_BATCH", "16")
    stored = file_with(tmp_path, "sessions = 1\nmax_batch = 2\nthreads = 2\n")
    flags = ["--sessions", "3", "--fixed-batch", "--model", "a", "--model", "b"]
    assert invoke("--config", str(stored), *flags).exit_code == 0
    (config,) = served
    assert (config.sessions, config.max_batch, config.threads) == (3, 16, 2)
    assert (config.fixed_batch, config.models) == (True, (Path("a"), Path("b")))


@pytest.mark.parametrize("arguments", [["--sessions", "0"], ["--config", "nowhere.toml"]])
def test_the_command_refuses_in_one_line(served: list[Config], arguments: list[str]) -> None:
    result = invoke(*arguments)
    assert result.exit_code == 2
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("cellwire: ")
    assert not served


def test_the_help_has_every_setting() -> None:
    result = invoke("--help")
    for setting in SETTINGS.values():
        assert setting.flag in result.stdout
