"""docs/operations.md: what it says of backups and recovery works."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from tests.server.store.stored import EVERYTHING, ONE, TWO, content, database, session

from cellwire.server.store.sqlite import SqliteStore

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
FOLDER = "/var/lib/cellwire"

needs_sqlite3 = pytest.mark.skipif(
    shutil.which("sqlite3") is None,
    reason="there is no sqlite3; install it (Debian: apt-get install sqlite3)",
)


def blocks(heading: str) -> str:
    """Return the commands of a section, without those that serve."""
    rest = PAGE.partition(f"# {heading}\n")[2]
    section = re.split(r"^##+ ", rest, maxsplit=1, flags=re.MULTILINE)[0]
    lines = "".join(re.findall(r"^```sh\n(.*?)^```", section, re.DOTALL | re.MULTILINE))
    assert lines, heading
    return re.sub(r"^cellwire serve .*\n", "", lines, flags=re.MULTILINE)


def paste(commands: str, tmp_path: Path) -> str:
    (tmp_path / "backup").mkdir()
    commands = commands.replace(FOLDER, f"{tmp_path}/state").replace(
        "/backup", f"{tmp_path}/backup"
    )
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["/bin/bash", "-euc", commands],
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_sqlite3
def test_a_backup_is_made_beside_a_daemon_and_restored(tmp_path: Path) -> None:
    with closing(SqliteStore(tmp_path / "state")) as store:
        store.commit([*session(ONE, 3_000, 2_500), *session(TWO)])
        assert "ok\n" in paste(blocks("Backups"), tmp_path)
        expected = content(store)
    with closing(SqliteStore(tmp_path / "state-restored")) as store:
        assert content(store) == expected


@needs_sqlite3
@pytest.mark.slow
def test_what_can_be_read_of_a_damaged_database_is_recovered(tmp_path: Path) -> None:
    names = [f"{number:032x}" for number in range(100)]
    state = tmp_path / "state"
    with closing(SqliteStore(state, "NORMAL")) as store:
        for name in names:
            store.commit(session(name, 3_000, 2_500))
        whole = {name: store.load(name, EVERYTHING) for name in names}
    data = bytearray(database(state).read_bytes())
    middle = len(data) // 8192 * 4096  # a page
    data[middle : middle + 4096] = bytes(4096)
    database(state).write_bytes(data)
    listed = paste(blocks("A damaged database"), tmp_path)
    recovered = content_of(tmp_path / "state-recovered")
    assert len(recovered) >= 80  # the page may have had several
    assert all(whole[name] == found for name, found in recovered.items())
    assert all(name in listed for name in recovered)


def content_of(folder: Path) -> dict[str, object]:
    with closing(SqliteStore(folder)) as store:
        found = content(store)
    return {name: one for name, one in found.items() if one != "damaged"}


def messages() -> Iterator[str]:
    """Yield what the daemon may log of its store: each message up to its first value."""
    for folder in ("host", "store"):
        for path in sorted((ROOT / "server" / "cellwire" / "server" / folder).glob("*.py")):
            text = path.read_text(encoding="utf-8")
            for found in re.findall(r'_log\.(?:warning|error|exception)\(\s*"([^"]+)"', text):
                yield re.split(r"[:;,(]? ?%|; ", found)[0]


def test_every_line_of_the_log_is_on_the_page() -> None:
    # What is not of the store.
    others = {"", "a step of"}
    for message in set(messages()) - others:
        assert message in PAGE, message
