"""`cellwire sessions` with a store: what is listed, and how it looks."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from cellwire.client.commands import cli, operator_store, stored_output
from cellwire.client.commands.outcome import Misused

NOW_S = 1_800_000_000.0


class Refused(Exception):
    """An error of the store."""


@dataclass(frozen=True)
class Facts:
    session_id: str
    model: str = "austen"
    model_sha256: str = "88beb974a927" + "0" * 52
    seed: int = 7
    revision: int = 12
    tokens: int = 155
    durability: str = "safe_first"
    created_s: float = NOW_S - 60
    expires_s: float | None = NOW_S + 600
    damage: str = ""


@dataclass
class FakeStore:
    """A store in memory; `did` tells what was written."""

    state: str = ""
    kept: list[Facts] = field(default_factory=list)
    did: list[object] = field(default_factory=list)
    errors: tuple[type[Exception], ...] = (Refused,)

    def sessions(self, after: str, limit: int) -> Sequence[Facts]:
        return [one for one in self.kept if one.session_id > after][:limit]

    def session(self, session_id: str) -> Facts:
        for one in self.kept:
            if one.session_id == session_id:
                return one
        raise Refused(f"there is no session {session_id}")

    def export(self, session_id: str) -> bytes:
        return self.session(session_id).session_id.encode()

    def restore(self, data: bytes, session_id: str | None, durability: str) -> str:
        self.did.append((data, session_id, durability))
        return session_id or "new"

    def delete(self, session_id: str) -> None:
        self.did.append(self.session(session_id))


def id_of(number: int) -> str:
    return f"{number:032x}"


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> FakeStore:
    store = FakeStore()

    def opened(state: str) -> FakeStore:
        store.state = state
        return store

    monkeypatch.setattr(operator_store, "_maker", lambda: opened)
    monkeypatch.setattr("time.time", lambda: NOW_S)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("CELLWIRE_STATE", raising=False)
    return store


def test_the_table_fits_into_80_columns(
    store: FakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    day_s = 24 * 3_600
    store.kept = [
        Facts(id_of(1)),
        Facts(id_of(2), model="a-model-of-a-long-name", revision=1_234_567, tokens=9_876_543),
        Facts(id_of(3), model="", durability="safe_later", expires_s=NOW_S + 7 * day_s),
        Facts(id_of(4), model="", model_sha256="", damage="its header record is too short"),
        Facts(id_of(5), expires_s=None),
        Facts(id_of(6), expires_s=NOW_S - 1),
    ]
    assert cli.run(["sessions", "list", "--state", "kept"]) == 0
    out, err = capsys.readouterr()
    assert store.state == "kept"
    lines = out.splitlines()
    assert max(map(len, lines)) <= 80
    assert [line.split() for line in lines] == [
        ["session", "model", "revision", "tokens", "safe", "expires"],
        [id_of(1), "austen", "12", "155", "first", "in", "10", "min"],
        [id_of(2), "a-model-of…", "1,234,567", "9,876,543", "first", "in", "10", "min"],
        [id_of(3), "88beb974a9…", "12", "155", "later", "in", "7", "d"],
        [id_of(4), "damaged"],
        [id_of(5), "austen", "12", "155", "first", "never"],
        [id_of(6), "austen", "12", "155", "first", "expired"],
    ]
    assert err.startswith("cellwire: damaged: 1; no other session is concerned.")
    assert err.count("\n") == 1


def test_a_narrow_terminal_wraps_whole_lines(
    store: FakeStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.kept = [Facts(id_of(1))]
    monkeypatch.setenv("COLUMNS", "30")
    assert cli.run(["sessions", "list", "--state", "kept"]) == 0
    line = capsys.readouterr().out.splitlines()[1]
    assert line.split() == [id_of(1), "austen", "12", "155", "first", "in", "10", "min"]


def test_each_line_of_json_is_a_session(
    store: FakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.kept = [Facts(id_of(1)), Facts(id_of(2), damage="altered"), Facts("3", expires_s=None)]
    assert cli.run(["sessions", "list", "--state", "kept", "--json"]) == 0
    out, err = capsys.readouterr()
    first, damaged, last = map(json.loads, out.splitlines())
    assert first == {
        "session_id": id_of(1),
        "model": "austen",
        "model_sha256": "88beb974a927" + "0" * 52,
        "seed": 7,
        "revision": 12,
        "tokens": 155,
        "durability": "safe_first",
        "created": "2027-01-15T07:59:00+00:00",
        "expires": "2027-01-15T08:10:00+00:00",
    }
    assert damaged == {"session_id": id_of(2), "damage": "altered"}
    assert last["expires"] is None
    assert err == ""


def listed(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[list[int], str]:
    assert cli.run(["sessions", "list", "--state", "kept", "--json", *options]) == 0
    out, err = capsys.readouterr()
    return [int(json.loads(line)["session_id"], 16) for line in out.splitlines()], err


def test_pages_go_on_behind_a_session(store: FakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.kept = [Facts(id_of(number)) for number in range(1, 251)]  # several pages of the store
    assert listed(capsys, "--limit", "250") == (list(range(1, 251)), "")
    found, said = listed(capsys)
    assert found == list(range(1, 101))
    assert said == f"cellwire: there are more: --after {id_of(100)}\n"
    assert listed(capsys, "--after", id_of(100), "--limit", "200") == (list(range(101, 251)), "")


def test_sessions_are_chosen_by_model_and_expiry(
    store: FakeStore, capsys: pytest.CaptureFixture[str]
) -> None:
    store.kept = [
        Facts(id_of(1)),
        Facts(id_of(2), model="bronte", model_sha256="ab" * 32),
        Facts(id_of(3), model="", model_sha256="ab" * 32, expires_s=NOW_S),
        Facts(id_of(4), expires_s=None),
        Facts(id_of(5), model="", model_sha256="", expires_s=None, damage="altered"),
    ]
    assert listed(capsys, "--model", "austen")[0] == [1, 4]
    assert listed(capsys, "--model", "bronte")[0] == [2]
    assert listed(capsys, "--model", "ABAB")[0] == [2, 3]
    assert listed(capsys, "--expired")[0] == [3]
    assert listed(capsys, "--expired", "--model", "austen") == ([], "")
    assert cli.run(["sessions", "list", "--state", "kept", "--model", "none"]) == 0
    assert capsys.readouterr() == ("", "cellwire: no session in the store is as you say\n")


def test_one_session_is_shown(store: FakeStore, capsys: pytest.CaptureFixture[str]) -> None:
    store.kept = [Facts(id_of(1)), Facts(id_of(2), model="", expires_s=None)]
    assert cli.run(["sessions", "show", id_of(1), "--state", "kept"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"session:    {id_of(1)}",
        f"model:      austen (SHA-256 {store.kept[0].model_sha256})",
        "seed:       7",
        "revision:   12",
        "tokens:     155",
        "durability: safe_first",
        "created:    2027-01-15T07:59:00+00:00",
        "expires:    2027-01-15T08:10:00+00:00",
    ]
    assert cli.run(["sessions", "show", id_of(2), "--state", "kept"]) == 0
    assert "expires:    never" in capsys.readouterr().out
    assert cli.run(["sessions", "show", "x", "--state", "kept"]) == 1
    assert capsys.readouterr().err == "cellwire: there is no session x\n"


def test_sessions_are_carried_out_and_in_and_deleted(
    store: FakeStore, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    store.kept = [Facts(id_of(1))]
    file = tmp_path / "one.session"
    assert cli.run(["sessions", "export", id_of(1), str(file), "--state", "kept"]) == 0
    assert file.read_text() == id_of(1)
    assert cli.run(["sessions", "export", id_of(1), str(file), "--state", "kept"]) == 2
    assert cli.run(["sessions", "import", str(file), "--state", "kept"]) == 0
    options = ["--id", id_of(9), "--durability", "safe_first"]
    assert cli.run(["sessions", "import", str(file), "--state", "kept", *options]) == 0
    assert cli.run(["sessions", "delete", id_of(1), "--state", "kept"]) == 0
    out, err = capsys.readouterr()
    assert out == f"new\n{id_of(9)}\n"
    assert err.endswith(f"cellwire: deleted session {id_of(1)}\n")
    data = id_of(1).encode()
    assert store.did == [
        (data, None, "safe_later"),
        (data, id_of(9), "safe_first"),
        store.kept[0],
    ]


def test_a_daemon_and_its_store_are_not_both_meant(
    store: FakeStore, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    store.kept = [Facts(id_of(1))]
    show = ["sessions", "show", id_of(1), "--state", "kept"]
    assert cli.run([*show, "--target", "127.0.0.1:1"]) == 2
    assert "not both" in capsys.readouterr().err
    monkeypatch.setenv("CELLWIRE_TARGET", "127.0.0.1:1")
    assert cli.run(show) == 0


@pytest.mark.usefixtures("store")
def test_a_list_needs_a_store(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cli.run(["sessions", "list"]) == 2
    assert capsys.readouterr().err.startswith("cellwire: give --state, what")
    monkeypatch.setenv("CELLWIRE_STATE", "kept")
    assert cli.run(["sessions", "list"]) == 0


@pytest.mark.parametrize(
    "points",
    [[], [EntryPoint("sessions", "not_installed.anywhere:Store", operator_store.GROUP)]],
    ids=["not registered", "not installed"],
)
def test_the_part_that_reads_a_store_may_be_missing(
    monkeypatch: pytest.MonkeyPatch, points: list[EntryPoint]
) -> None:
    monkeypatch.setattr(operator_store, "entry_points", lambda **_: points)
    needs = pytest.raises(Misused, match=r"needs the part .*'cellwire\[server\]'")
    with needs, operator_store.opened("kept"):
        pass


def test_a_mistake_of_our_own_is_no_missing_part(monkeypatch: pytest.MonkeyPatch) -> None:
    points = [EntryPoint("sessions", "cellwire.nowhere:Store", operator_store.GROUP)]
    monkeypatch.setattr(operator_store, "entry_points", lambda **_: points)
    with pytest.raises(ModuleNotFoundError, match="nowhere"), operator_store.opened("kept"):
        pass


@pytest.mark.parametrize(
    ("left_s", "shown"),
    [(0, "expired"), (119, "in 119 s"), (120, "in 2 min"), (7_200, "in 2 h"), (172_800, "in 2 d")],
)
def test_how_long_a_session_is_kept(left_s: float, shown: str) -> None:
    assert stored_output.until(NOW_S + left_s, NOW_S) == shown
