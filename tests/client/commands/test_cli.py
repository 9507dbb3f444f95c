from __future__ import annotations

import subprocess
import sys
from importlib.metadata import EntryPoint, version
from pathlib import Path

import pytest

from cellwire.client.commands import app, cli


def script(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """Run `cellwire` in this process and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["cellwire", *arguments])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    return ended.value.code if isinstance(ended.value.code, int) else 0


@pytest.fixture
def example(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Three parts: one is whole, one lacks a package, one has a mistake."""
    (tmp_path / "whole").mkdir()
    (tmp_path / "whole" / "cli.py").write_text(
        'def greet(name: str = "you") -> None:\n    """Greet."""\n    print("hello", name)\n'
    )
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "cli.py").write_text("def late() -> None:\n    import not_installed\n")
    (tmp_path / "lacking" / "early.py").write_text("import not_installed\n")
    (tmp_path / "lacking" / "mistaken.py").write_text("import cellwire.nowhere\n")
    commands = {
        "greet": "whole.cli:greet",
        "late": "lacking.cli:late",
        "early": "lacking.early:early",
        "mistaken": "lacking.mistaken:mistaken",
    }
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(app, "_EXTRAS", {"lacking": "train"})
    monkeypatch.setattr(
        app,
        "entry_points",
        lambda group: [EntryPoint(name, value, group) for name, value in commands.items()],
    )


@pytest.mark.usefixtures("example")
def test_a_command_comes_from_its_entry_point(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(monkeypatch, "greet", "--name", "Emma") == 0
    assert capsys.readouterr().out == "hello Emma\n"


@pytest.mark.usefixtures("example")
@pytest.mark.parametrize("command", ["early", "late"])
def test_a_missing_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    assert script(monkeypatch, command) == 2
    expected = f"cellwire: {command} needs the train extra: pip install 'cellwire[train]'"
    assert capsys.readouterr().err.startswith(expected)


@pytest.mark.usefixtures("example")
def test_a_mistake_of_our_own_is_not_taken_for_a_missing_extra(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(monkeypatch, "mistaken") == 1
    line = capsys.readouterr().err
    assert line.startswith("cellwire: ModuleNotFoundError: No module named 'cellwire.nowhere'; ")
    assert line.count("\n") == 1
    monkeypatch.setenv("CELLWIRE_TRACEBACK", "1")
    with pytest.raises(ModuleNotFoundError, match=r"cellwire\.nowhere"):
        cli.run(["mistaken"])


@pytest.mark.usefixtures("example")
def test_help_lists_all_commands(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(monkeypatch, "--help") == 0
    out = capsys.readouterr().out
    assert "Greet." in out
    assert "needs the train extra" in out
    assert "cellwire[train]" in out  # brackets are no markup
    assert "cannot be loaded" in out


@pytest.mark.usefixtures("example")
def test_an_unknown_command_suggests_near_ones(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert script(monkeypatch, "gret") == 2
    assert capsys.readouterr().err == (
        "cellwire: No such command 'gret'. Did you mean 'greet'?; cellwire --help shows what there "
        "is\n"
    )


def test_version(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert script(monkeypatch, "--version") == 0
    assert capsys.readouterr().out == f"{version('cellwire')}\n"


def test_a_command_loads_nothing_of_the_others() -> None:
    program = (
        "import sys\n"
        "from cellwire.client.commands import cli\n"
        "sys.argv = ['cellwire', 'generate', '--max-tokens', 'none']\n"
        "try:\n    cli.main()\n"
        "except SystemExit:\n    print(*sys.modules)\n"
    )
    done = subprocess.run(  # our own program
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(done.stdout.split())
    heavy = {"numpy", "torch", "textual", "onnxruntime"}
    assert loaded & (heavy | {"cellwire.server.cli", "cellwire.exporter.commands.train"}) == set()
    assert "cellwire.client.commands.generate" in loaded
