"""README.md, from top to bottom: its blocks are pasted into one shell, with real daemons."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
GUARD_S = 280

# What would change this machine or needs another one, and not what is shown.
_LEFT_OUT = ("git clone", "cd cellwire", "make ", "source ", "pip install")
_NEEDS_A_CARD = "--provider cuda"
# The text to train on is long enough for a few steps.
_SHORTER = ("head -c 300000", "head -c 6000")
_SERVE = re.compile(r"^cellwire serve(.*) &$", re.MULTILINE)
# Go on when a daemon is ready; its messages stay in the pipe.
_SERVE_UNTIL_READY = """\
mkfifo said{number}
cellwire serve{arguments} 2> said{number} &
exec {fd}< said{number}
while read -r line <&{fd}; do echo "$line"; case $line in *"ready on"*) break;; esac; done
"""


def blocks(*languages: str) -> Iterator[tuple[str, str]]:
    """Yield the language and the content of the page's blocks."""
    for language, content in re.findall(r"^```(\w+)\n(.*?)^```", README, re.DOTALL | re.MULTILINE):
        if language in languages:
            yield language, content


def script() -> str:
    """Return the page's blocks as one script."""
    lines = ["set -euo pipefail"]
    for language, content in blocks("sh", "python"):
        if language == "python":
            lines.append(f"python - <<'END'\n{content}END")
        elif _NEEDS_A_CARD not in content:
            kept = [line for line in content.splitlines() if not line.startswith(_LEFT_OUT)]
            lines.append("\n".join(kept))
    number = iter(range(1, 10))

    def serve(found: re.Match[str]) -> str:
        n = next(number)
        return _SERVE_UNTIL_READY.format(number=n, fd=n + 2, arguments=found[1])

    return _SERVE.sub(serve, "\n".join(lines).replace(*_SHORTER)) + "\n"


def free_addresses(count: int) -> list[str]:
    """Return addresses that nothing listens on."""
    taken = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    addresses = [f"127.0.0.1:{one.getsockname()[1]}" for one in taken]
    for one in taken:
        one.close()
    return addresses


@pytest.mark.slow
@pytest.mark.timeout(GUARD_S + 10)
def test_every_block_can_be_pasted(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    text = script()
    shown = sorted(set(re.findall(r"127\.0\.0\.1:5005\d", text)))
    for address, free in zip(shown, addresses := free_addresses(len(shown)), strict=True):
        text = text.replace(address, free)
    (tmp_path / "exporter").symlink_to(ROOT / "exporter")
    (tmp_path / "script").write_text(text, encoding="utf-8")
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "CELLWIRE_LISTEN": addresses[0],
        "CELLWIRE_TARGET": addresses[0],
    }
    done = subprocess.run(
        ["/bin/bash", "script"],
        cwd=tmp_path,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=GUARD_S,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    for expected in ("Emma ...", "the copy:", "bits a symbol", "finished", "good "):
        assert expected in done.stdout, done.stdout


def test_no_block_shows_a_prompt_that_a_shell_would_not_take() -> None:
    for _, content in blocks("sh"):
        assert not re.search(r"^\s*[$>] ", content, re.MULTILINE)


def test_the_first_block_gets_the_code_and_the_second_finds_the_command() -> None:
    first, second, *_ = (content for _, content in blocks("sh"))
    assert first.startswith("git clone https://")
    assert second == "source .venv/bin/activate\n"


def test_every_link_is_whole_and_leads_to_a_file_that_there_is() -> None:
    links = re.findall(r"\]\(([^)]+)\)", README)
    for link in links:
        assert link.startswith("https://"), link  # the page is also shown by package indexes
        path = re.match(r"https://github\.com/cellwire/cellwire/(?:tree|blob)/main/(.+)", link)
        assert path is None or (ROOT / path[1]).exists(), link
    assert len(links) > 10
