"""The benchmarks run, and every figure with a bound is measured by one of them."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from pathlib import Path

import pynvml
import pytest
import torch
from tests.bench import (
    cli,
    durable,
    gpu,
    hand_overs,
    machine,
    mixed,
    raw,
    scale,
    scale_model,
    scale_page,
    trainer,
)
from tests.bench.child import ROOT
from tests.bench.cli import NAMES, Result
from tests.bench.figures import BOUNDS, HIGH, LOW, Bound, names
from tests.bench.kernels import kernels_of
from tests.bench.machine import described
from tests.bench.models import Models
from tests.bench.report import markdown
from tests.bench.setting import QUICK, Effort, Setting
from tests.bench.stored import Filler
from tests.bench.texts import symbols_of, text_of

from cellwire.model_file.cell import read_cell
from cellwire.server.runtime.cuda import Card
from cellwire.server.runtime.device import Device
from cellwire.server.state.resume import resumed
from cellwire.server.store.sqlite import SqliteStore

_AT_ONCE = Effort(
    rounds=2,
    slice_s=0.001,
    load_rounds=1,
    load_s=0.1,
    warm_up_s=0,
    keystrokes=1,
    repeats=1,
    residents=100,
    kept=10,
    starts=1,
    stored=20,
)
_MACHINE = {"cpu", "cores", "memory_gib", "os", "python", "threads", "models", "date", "revision"}
_VERSIONS = {"onnxruntime", "grpcio", "protobuf", "numpy", "torch", "litserve"}


def _declared() -> dict[str, str]:
    return {
        figure: name
        for name in (*NAMES, *cli.BY_NAME_ONLY)
        for figure in importlib.import_module(f"tests.bench.{name}").FIGURES
    }


def test_every_figure_with_a_bound_is_some_benchmarks() -> None:
    assert BOUNDS.keys() <= _declared().keys()


def test_a_figure_is_named_after_its_benchmark() -> None:
    assert all(figure.startswith(f"{name}.") for figure, name in _declared().items())


def test_bounds_are_floors_or_ceilings() -> None:
    assert Bound(2).met_by(2)
    assert not Bound(2).met_by(1.9)
    assert Bound(2, at_most=True).met_by(2)
    assert not Bound(2, at_most=True).met_by(2.1)


def test_raw_measures_a_tiny_model(tmp_path: Path) -> None:
    said: list[str] = []
    setting = Setting(Models(tmp_path), 1, _AT_ONCE, said.append)
    figures = raw.run(setting, sizes=("tiny",), batches=(1, 4))
    assert {f"raw.cell_ratio.tiny.{batch}" for batch in (1, 4)} <= figures.keys()
    assert all(value > 0 for value in figures.values())
    assert said == ["raw: tiny, batch 1", "raw: tiny, batch 4"]


@pytest.mark.slow
def test_mixed_measures_a_tiny_model_in_an_engine_and_over_the_wire(tmp_path: Path) -> None:
    setting = Setting(Models(tmp_path), 1, _AT_ONCE, lambda _: None)
    figures = mixed.run(setting, sizes=("tiny",), sessions=2)
    assert (
        set(names("mixed", ("raw", "served", "served_alternatives"), ("tiny",))) <= figures.keys()
    )
    assert all(value > 0 for value in figures.values())


@pytest.mark.slow
def test_durable_measures_a_tiny_model_with_stores(tmp_path: Path) -> None:
    setting = Setting(Models(tmp_path), 1, _AT_ONCE, lambda _: None)
    figures = durable.run(setting, sizes=("tiny",), sessions=2)
    at_work = names("durable.served_ratio", ("safe_later", "safe_first"), ("tiny",), (2,))
    kinds = {figure.split(".")[1] for figure in durable.FIGURES}
    if not hand_overs.has_redis():
        kinds -= {figure.split(".")[1] for figure in hand_overs.FIGURES} - {"stored_bytes"}
    assert set(at_work) <= figures.keys()
    assert {name.split(".")[1] for name in figures} == kinds
    assert figures["durable.stored_bytes.sqlite.100000"] > 100_000


@pytest.mark.parametrize("tokens", [100, 1_000, 5_000])
def test_sessions_put_into_a_store_can_wake(tmp_path: Path, tokens: int) -> None:
    cell = read_cell(Models(tmp_path).path("tiny"))
    store = SqliteStore(tmp_path / "state")
    ids = Filler(cell, tokens).fill(store, 20).session_ids
    snapshots = [resumed(store.load(session_id, 64)) for session_id in ids]
    assert {snapshot.length for snapshot in snapshots} == {tokens}
    unread = {tokens - snapshot.tokens_read for snapshot in snapshots}
    assert unread == {100} if tokens == 100 else len(unread) > 10
    assert len(set(ids)) == 20
    store.close()


@pytest.mark.slow
def test_gpu_measures_a_tiny_model_where_there_is_none(tmp_path: Path) -> None:
    said: list[str] = []
    setting = Setting(Models(tmp_path), 1, _AT_ONCE, said.append)
    figures = gpu.run(setting, ("tiny",), (1, 4), (1,), device=Device())
    kinds = {name.split(".")[1] for name in gpu.FIGURES}
    assert {name.split(".")[1] for name in figures} == kinds
    assert figures["gpu.failed_parts"] == 0, said
    assert figures["gpu.same_bits.tiny.4"] == 1
    assert 20 < figures["gpu.reckoned_kernels.tiny"] < 40
    assert figures["gpu.kernels.tiny.4"] == 0  # of a card
    assert figures["gpu.gap_us.tiny.4"] == figures["gpu.step_us.tiny.4"] > 0
    assert figures["gpu.engine_tokens_per_s.tiny.4"] > 0
    assert figures["gpu.served_tokens_per_s.tiny.1"] > 0


def test_a_part_that_fails_on_a_card_takes_no_other_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    said: list[str] = []
    monkeypatch.setattr(gpu, "torch_step", lambda *_: 1 / 0)
    monkeypatch.setattr(gpu, "told_by", lambda _: {"number": 160, "time_us": 32, "longest": {}})
    setting = Setting(Models(tmp_path), 1, _AT_ONCE, said.append)
    figures = gpu.run(setting, ("tiny",), (1,), (), device=Device())
    assert figures["gpu.failed_parts"] == 1
    assert "ZeroDivisionError" in "".join(said)
    assert "gpu.engine_tokens_per_s.tiny.1" in figures
    assert (figures["gpu.kernels.tiny.1"], figures["gpu.kernels_us.tiny.1"]) == (10, 2)
    # These need the time of a step.
    assert not any("gap" in name or "hidden" in name for name in figures)


def test_what_a_card_does_is_read_from_a_profile() -> None:
    matrix = torch.ones(4, 4)
    kernels = kernels_of(lambda: matrix @ matrix, runs=3, kinds={"cpu_op"})
    assert kernels.number == int(kernels.number) > 0
    assert 0 < max(kernels.longest.values()) <= kernels.time_us
    assert "aten::mm" in kernels.longest
    assert kernels_of(lambda: matrix @ matrix).number == 0  # nothing of it is on a card


def test_the_trainer_is_measured_against_a_plain_loop(tmp_path: Path) -> None:
    setting = Setting(Models(tmp_path), 1, _AT_ONCE, lambda _: None)
    figures = trainer.run(setting, sizes=("tiny",))
    assert {"trainer.speed_ratio.tiny", "trainer.tokens_per_s.tiny"} <= figures.keys()
    assert all(value > 0 for value in figures.values())


def test_the_machine_is_described() -> None:
    assert described(threads=2).keys() >= (_MACHINE | _VERSIONS)


def test_a_card_is_described(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "find_card", lambda number: Card(number, "NVIDIA H1", 1, 2))
    for name in ("nvmlInit", "nvmlShutdown"):
        monkeypatch.setattr(pynvml, name, lambda: None)
    monkeypatch.setattr(pynvml, "nvmlSystemGetDriverVersion", lambda: "580.95.05")
    assert described(threads=2).items() >= {"gpu": "NVIDIA H1", "driver": "580.95.05"}.items()


def test_the_result_is_one_json_object(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setattr(cli, "load", lambda name: lambda _: {f"{name}.ready_s": 1.0})
    cli.bench(["start"], quick=True, as_json=True, out=tmp_path / "bench.json")
    printed: Result = json.loads(capsys.readouterr().out)
    assert printed.keys() == {"machine", "start.ready_s"}
    assert json.loads((tmp_path / "bench.json").read_text()) == printed


def test_the_table_tells_what_is_missed(capsys: pytest.CaptureFixture[str]) -> None:
    cli.print_result({"machine": {"cores": 2}, "start.ready_s": 9.0, "start.first_token_s": 1.0})
    ready, first = (line for line in capsys.readouterr().out.splitlines() if "start." in line)
    assert "missed" in ready
    assert "ok" in first


def test_a_strange_name_is_refused() -> None:
    with pytest.raises(ValueError, match="no benchmark 'fast'; there are: raw, served"):
        cli.bench(["fast"], quick=True, as_json=True, out=None)


@pytest.mark.slow
def test_the_command_says_in_one_line_what_is_wrong() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.bench", "fast"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert done.stderr.startswith("tests.bench: there is no benchmark 'fast'; there are: raw, ")
    assert done.stderr.count("\n") == 1


def test_what_is_missing_is_said_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cli, "find_spec", lambda _: None)
    with pytest.raises(ModuleNotFoundError) as missing:
        cli.bench(["all"], quick=True, as_json=True, out=None)
    assert missing.value.name == "litserve"


def test_the_page_has_tables_of_bounds_and_of_all() -> None:
    page = markdown({"machine": {"cores": 2}, "start.ready_s": 9.0, "start.rss_mb": 100.0})
    assert "| `start.ready_s` | 9.00 |  | ≤ 1.5 | **missed** |" in page
    assert "| `start.rss_mb` | 100 |  |" in page


def test_the_model_says_what_is_short_first(tmp_path: Path) -> None:
    figures = dict.fromkeys(scale_model.FIGURES, 10.0)
    memory, *others = scale_model.uses(
        figures | {"durable.stored_bytes.redis.1000": 64_000.0}, scale_model.Fleet()
    )
    assert (memory.name, memory.servers) == ("memory", 100)
    assert [other.name for other in others] == ["processor", "network, and disk"]
    page = tmp_path / "scale.md"
    page.write_text("\n".join((*scale_page.MEASURED_MARKS, *scale_page.MODEL_MARKS)))
    rates = {f"scale.tokens_per_s.{name}": 1_000.0 for name in ("plain", 1, 2, 3)}
    spread = {name + end: 1_000.0 for name in rates for end in (LOW, HIGH)}
    scale_page.write_scale(figures | rates | spread, page)
    text = page.read_text()
    assert "| one, without proxy and store | 1,000 | 1,000 to 1,000 |  |" in text
    assert "What is short first: **processor**" in text


@pytest.mark.slow
def test_scale_measures_a_tiny_model_behind_a_proxy(tmp_path: Path) -> None:
    said: list[str] = []
    setting = Setting(Models(tmp_path), 1, _AT_ONCE, said.append)
    figures = scale.run(setting, "tiny", sessions=2)
    if figures:
        assert {name for name in figures if not name.endswith((LOW, HIGH))} == set(scale.FIGURES)
    else:
        assert "scale: nothing, which needs" in said[0]


def test_models_can_read_the_text_they_are_given() -> None:
    assert set(text_of(100)) <= set(symbols_of(83))
    assert len(set(symbols_of(3_000))) == 3_000
    assert QUICK.residents > 0
