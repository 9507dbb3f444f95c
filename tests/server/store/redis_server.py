"""A Redis server that a test starts on a free port, in a folder of its own."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from cellwire.server.store.leases import OpenedStore
from cellwire.server.store.redis import RedisStore, open_redis
from cellwire.server.store.redis_leases import RedisLeases

HOW = "needs redis-server: `apt-get install redis-server`, or your system's package of that name"
_READY = "Ready to accept connections"
_ATTEMPTS = 5


class RedisServer:
    """One server. `stop` and `kill` leave its files, and `start` reads them."""

    def __init__(self, folder: Path, **options: object) -> None:
        if shutil.which("redis-server") is None:
            pytest.skip(HOW)
        self.folder = folder
        self.options = {
            "appendonly": "yes",
            "appendfsync": "no",  # power is not lost here
            "save": "",
            "repl-diskless-sync-delay": "0",
            "enable-debug-command": "yes",
        } | {name.replace("_", "-"): str(value) for name, value in options.items()}
        self.port = 0
        self._process: subprocess.Popen[str] | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def client(self) -> Any:  # noqa: ANN401  # its types are those of an asynchronous one, too
        """A connection of a test's own."""
        return redis.Redis(port=self.port, decode_responses=False)

    def start(self) -> RedisServer:
        """Start it, on the port it had before; return when it answers."""
        for _ in range(_ATTEMPTS):
            self.port = self.port or free_port()
            if self._ready():
                return self
            self.port = 0  # somebody else has taken it
        raise AssertionError((self.folder / "log").read_text())

    def _ready(self) -> bool:
        self.folder.mkdir(parents=True, exist_ok=True)
        options = [part for name, value in self.options.items() for part in (f"--{name}", value)]
        command = ["redis-server", "--port", str(self.port), "--dir", str(self.folder), *options]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        seen = []
        for line in self._process.stdout:
            seen.append(line)
            if _READY in line:
                return True
        (self.folder / "log").write_text("".join(seen))
        self.kill()
        return False

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.signal(signal.SIGCONT)

    def kill(self) -> None:
        """Let it die at once."""
        if self._process is None:
            return
        self.signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def open(self, **options: Any) -> OpenedStore:  # noqa: ANN401  # of open_redis
        return open_redis(self.url, **options)


def free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port: int = listening.getsockname()[1]
        return port


Started = Callable[..., RedisServer]
"""Starts a server with options, which ends with the test."""

Opened = Callable[..., tuple[RedisStore, RedisLeases]]
"""Opens a server's store with short times; it is closed with the test."""
