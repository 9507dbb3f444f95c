"""N: each message says what was found, what is right, and what to do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.cases.command_line import Ran, run
from tests.client.real.daemon import RealDaemon


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def target(folder: Path) -> Iterator[str]:
    daemon = RealDaemon(folder)
    yield daemon.target
    daemon.stop()


def refused(target: str, *arguments: str) -> Ran:
    """Run a command that cannot be carried out."""
    ran = run([*arguments, "--target", target])
    assert ran.status in (1, 2)
    assert ran.is_one_line
    return ran


@pytest.mark.parametrize(
    ("arguments", "found", "to_do"),
    [
        (
            ("complete", "--completions", "9", "--beam-width", "3"),
            "--completions 9 is more than --beam-width 3",
            "give --beam-width 9",
        ),
        (("generate", "--stop", ""), "--stop is an empty text", "give at least one character"),
        (("generate", "--max-tokens", "0"), "'--max-tokens'", "cellwire generate --help"),
        (("generate", "--seed", "x"), "'--seed'", "cellwire generate --help"),
        (("generate", "--bogus"), "--bogus", "cellwire generate --help"),
        (("generate", "--prompt", "B"), "'B' (U+0042) at offset 0", "--unknown skip leaves out"),
        (("score", ""), "there is no text to score", "give at least one character"),
        (("classify",), "TEXT", "cellwire classify --help"),
        (("load", "folder/a.onnx"), "'folder/a.onnx' is a path", "give the name of a file"),
        (("load", ""), "the name is empty", "cellwire models"),
        (("generate", "--model", "nobody"), "'nobody'", "alphabet, judge, words"),
        (("sessions",), "Missing command", "cellwire sessions --help"),
    ],
)
def test_a_refusal_says_what_was_found_and_what_to_do(
    target: str, arguments: tuple[str, ...], found: str, to_do: str
) -> None:
    # An option of a group of commands comes before them.
    ran = run(arguments) if arguments == ("sessions",) else refused(target, *arguments)
    assert found in ran.err
    assert to_do in ran.err


def test_more_completions_widen_the_beam_by_themselves(target: str) -> None:
    ran = run(["complete", "--prompt", "a", "--completions", "9", "--target", target])
    assert (ran.status, ran.out.count("\n")) == (0, 9)


@pytest.mark.parametrize("command", ["generate", "complete"])
@pytest.mark.parametrize("model", ["alphabet", "words"])
def test_every_model_that_writes_writes_without_a_prompt(
    target: str, command: str, model: str
) -> None:
    ran = run([command, "--model", model, "--max-tokens", "3", "--target", target])
    assert (ran.status, ran.err) == (0, "")
    assert ran.out


@pytest.mark.parametrize("handling", ["skip", "replace"])
def test_unknown_symbols_can_be_left_out_and_not_replaced_without_a_symbol_for_them(
    target: str, handling: str
) -> None:
    arguments = ["generate", "--prompt", "aB", "--unknown", handling, "--max-tokens", "2"]
    ran = run([*arguments, "--target", target])
    if handling == "skip":
        assert (ran.status, ran.out) == (0, "bc")
    else:
        assert (ran.status, ran.is_one_line) == (1, True)


# The commands that are about more than text.


def test_the_score_of_a_text_is_in_bits_a_symbol(target: str) -> None:
    assert run(["score", "abc", "--target", target]).out == (
        "0.0000 bits a symbol, perplexity 1, 2 symbols, log-probability 0.000\n"
    )
    after = run(["score", "d", "--prompt", "abc", "--target", target]).out
    assert after.startswith("0.0000 bits a symbol, perplexity 1, 1 symbols")
    assert run(["score", "a", "--target", target]).out == (
        "no symbol is scored: the first one is given\n"
    )
    assert "perplexity inf" in run(["score", "a" * 3000, "--target", target]).out


def test_models_are_loaded_and_unloaded_by_name(target: str) -> None:
    loaded = run(["load", "spare.onnx", "--target", target])
    assert (loaded.status, loaded.err) == (
        0,
        "cellwire: serves spare: 2 x 26 lstm, 27 symbols\n",
    )
    assert "spare" in run(["models", "--target", target]).out
    assert refused(target, "load", "spare").status == 1
    unloaded = run(["unload", "spare", "--target", target])
    assert unloaded.err == "cellwire: no longer serves spare; 0 sessions ended with it\n"
    assert "nobody" in refused(target, "unload", "nobody").err


def test_a_session_is_exported_imported_shown_and_deleted(target: str, tmp_path: Path) -> None:
    from cellwire.client.sync import connect

    file = str(tmp_path / "chat.session")
    with connect(target) as daemon, daemon.session(seed=7) as session:
        session.append("abc")
        written = run(["sessions", "export", session.id, file, "--target", target])
        assert written.err.startswith(f"cellwire: wrote {file}: ")
        again = run(["sessions", "export", session.id, file, "--target", target])
        assert (again.status, again.is_one_line) == (2, True)
        assert "--force" in again.err
        assert run(["sessions", "export", session.id, file, "--force", "--target", target]).err
        raw = run(["sessions", "export", session.id, "-", "--target", target], encoding="latin-1")
        assert raw.out.encode("latin-1") == Path(file).read_bytes()
    imported = run(["sessions", "import", file, "--target", target])
    session_id = imported.out.strip()
    piped = run(["sessions", "import", "-", "--target", target], stdin=Path(file).read_bytes())
    assert piped.out.strip() not in ("", session_id)
    lines = run(["sessions", "show", session_id, "--target", target]).out.splitlines()
    assert [line.split(None, 1)[1] for line in lines[1:4]] == ["alphabet", "7", "3"]
    assert lines[-1] == "text ends: abc"
    deleted = run(["sessions", "delete", session_id, "--target", target])
    assert deleted.err == f"cellwire: deleted session {session_id}\n"
    assert refused(target, "sessions", "show", session_id).status == 1


def test_a_session_that_is_no_file_or_an_empty_one_is_said(target: str, tmp_path: Path) -> None:
    missing = str(tmp_path / "missing")
    assert f"{missing}: No such file" in refused(target, "sessions", "import", missing).err
    ran = run(["sessions", "import", "-", "--target", target])
    assert "stdin is empty; it holds no session" in ran.err
    ran = run(["sessions", "export", "0" * 32, "-", "--target", target], terminal=True)
    assert "a session is no text for a terminal" in ran.err


# Help.


@pytest.mark.parametrize("command", ["generate", "complete", "score", "classify", "serve", "load"])
@pytest.mark.parametrize("flag", ["-h", "--help"])
def test_every_command_has_a_help_with_examples(command: str, flag: str) -> None:
    ran = run([command, flag])
    assert (ran.status, ran.err) == (0, "")
    assert f"cellwire {command}" in ran.out.split("For example:")[1]


def test_the_help_is_in_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = run(["-h"]).out
    places = [text.index(f"─ {panel} ─") for panel in ("Text", "The daemon", "Training")]
    assert places == sorted(places)
    assert run([]).out == text


def test_the_target_can_come_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, target: str
) -> None:
    monkeypatch.setenv("CELLWIRE_TARGET", target)
    assert "alphabet" in run(["models"]).out


def test_a_shell_can_complete_commands(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_CELLWIRE_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "cellwire sc")
    monkeypatch.setenv("COMP_CWORD", "1")
    with pytest.raises(SystemExit) as ended:
        run([])
    assert ended.value.code == 0
