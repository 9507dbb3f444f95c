"""The processes of a benchmark: servers and their clients."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
CELLWIRE = Path(sys.executable).parent / "cellwire"

_READY = re.compile(r"ready on (\S+?);")
_STOP_TIMEOUT_S = 20
_CLIENT_TIMEOUT_S = 120


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready."""

    process: subprocess.Popen[str]
    address: str
    ready_s: float  # from its start


@contextmanager
def serving(command: Sequence[str]) -> Iterator[Server]:
    """Run a server that says on stderr "ready on ADDRESS;" until the context is left."""
    start = time.monotonic()
    # A new process group, so that a server's children end with it.
    process = subprocess.Popen(
        command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stderr is not None
    said: list[str] = []
    reader = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
    try:
        address = _address(process.stderr, said)
        ready_s = time.monotonic() - start
        # Somebody must read what it says, or it would wait for that.
        reader.start()
        yield Server(process, address, ready_s)
    except BaseException as error:
        error.add_note(f"the server said:\n{''.join(said)}")
        raise
    finally:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_TIMEOUT_S)
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if reader.ident is not None:
            reader.join()
        process.stderr.close()


def _address(stderr: Iterable[str], said: list[str]) -> str:
    for line in stderr:
        said.append(line)
        if ready := _READY.search(line):
            return ready[1]
    raise RuntimeError("a server ended before it was ready")


def daemon(*arguments: str) -> list[str]:
    """Return the command of a daemon on a free port."""
    return [str(CELLWIRE), "serve", "--listen", "127.0.0.1:0", *arguments]


def module(name: str, *arguments: object) -> list[str]:
    """Return the command of one of our own modules."""
    return [sys.executable, "-m", f"tests.bench.{name}", *map(str, arguments)]


def told_by(  # it is JSON
    command: Sequence[str], timeout_s: float = _CLIENT_TIMEOUT_S
) -> Any:  # noqa: ANN401
    """Run a command to its end and return the JSON it writes."""
    result = subprocess.run(
        command, cwd=ROOT, stdout=subprocess.PIPE, timeout=timeout_s, check=True
    )
    return json.loads(result.stdout)


@contextmanager
def beside(command: Sequence[str]) -> Iterator[None]:
    """Run a command that says a line when it is under way, and ends with its stdin."""
    with subprocess.Popen(
        command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            assert process.stdout.readline(), f"{command} ended too early"
            yield
        finally:
            process.stdin.close()
            process.wait(_STOP_TIMEOUT_S)


def resident_bytes(pid: int) -> int:
    """Return how much memory a process has."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")
