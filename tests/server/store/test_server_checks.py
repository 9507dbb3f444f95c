"""What a Redis server must be, and what is said of one that is not."""

from __future__ import annotations

import logging
import shutil
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from tests.server.store.redis_server import RedisServer, Started, free_port
from tests.server.store.stored import ONE, session

from cellwire.server.errors import CannotOpenStore
from cellwire.server.host.config import Config
from cellwire.server.host.opening import open_store
from cellwire.server.store import server_checks
from cellwire.server.store.redis import RedisStore, open_redis
from cellwire.server.store.redis_keys import FORMAT, FORMAT_KEY
from cellwire.server.store.redis_leases import RedisLeases


def refusal(url: str) -> str:
    with pytest.raises(CannotOpenStore) as refused:
        open_redis(url)
    return str(refused.value)


def warnings(server: RedisServer, caplog: pytest.LogCaptureFixture, replicas: int = 0) -> list[str]:
    caplog.clear()
    with caplog.at_level(logging.WARNING), closing(server.open(replicas=replicas).store):
        return [record.getMessage() for record in caplog.records]


def test_a_server_that_keeps_everything_is_taken_without_a_word(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    assert warnings(started(appendfsync="always", maxmemory="100mb"), caplog) == []


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"appendonly": "no"}, "writes no append-only file: its restart loses what is not in its"),
        ({"appendfsync": "everysec"}, "loses what was safe for up to two seconds"),
        ({"appendfsync": "no"}, "loses what was safe for up to half a minute"),
        (
            {"appendfsync": "always", "no-appendfsync-on-rewrite": "yes"},
            "loses what was safe for up to half a minute (the last",
        ),
    ],
)
def test_what_loses_safe_writes_is_warned_of(
    started: Started, caplog: pytest.LogCaptureFixture, options: dict[str, str], told: str
) -> None:
    (warning,) = warnings(started(**options), caplog)
    assert told in warning
    assert "; set " in warning


def test_missing_replicas_are_warned_of_if_any_are_asked_for(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    server = started(appendfsync="always")
    with server.client() as client:
        client.set(FORMAT_KEY, FORMAT)
    with pytest.raises(CannotOpenStore, match="reached 0 replicas"), caplog.at_level("WARNING"):
        server.open(replicas=1)


def test_eviction_is_refused(started: Started) -> None:
    server = started(maxmemory="100mb", maxmemory_policy="allkeys-lru")
    assert "may evict sessions: maxmemory-policy is allkeys-lru; set" in refusal(server.url)
    with server.client() as client:
        client.config_set("maxmemory", 0)
    open_redis(server.url).store.close()


def test_a_replica_is_refused(started: Started) -> None:
    server = started(replicaof=f"127.0.0.1 {free_port()}")
    assert "is a replica, which cannot be written; give --state the primary" in refusal(server.url)


def test_a_cluster_is_refused(started: Started) -> None:
    found = refusal(started(cluster_enabled="yes", cluster_port=str(free_port())).url)
    assert "is a cluster; give --state the address of a single server" in found


def test_an_old_server_is_refused(started: Started, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_checks, "OLDEST", (99, 0))
    assert "use Redis 99.0 or later, or Valkey" in refusal(started().url)


def test_sessions_of_another_format_are_refused(started: Started) -> None:
    server = started()
    with server.client() as client:
        client.set(FORMAT_KEY, 2)
    assert "has sessions of format 2, and this daemon reads format 1" in refusal(server.url)


def test_a_server_that_is_not_there_is_said() -> None:
    assert "see that it runs, and that this machine reaches it" in refusal(
        f"redis://127.0.0.1:{free_port()}/0"
    )


def test_passwords_are_used_and_never_shown(
    started: Started, caplog: pytest.LogCaptureFixture
) -> None:
    server = started(requirepass="secret")
    advice = "give --state redis://USER:PASSWORD@HOST:PORT/DB"
    assert f"Authentication required.; {advice}" in refusal(server.url)
    url = server.url.replace("//", "//:wrong@")
    assert advice in refusal(url)
    assert "wrong@" not in refusal(url)
    open_redis(url.replace("wrong", "secret")).store.close()
    assert "secret" not in caplog.text


def test_a_user_of_few_rights_is_enough(started: Started, caplog: pytest.LogCaptureFixture) -> None:
    server = started(appendfsync="always")
    rights = ["on", ">pw", "~cellwire:*", "&cellwire:*", "+@all", "-@dangerous"]
    with server.client() as client:
        client.execute_command("ACL", "SETUSER", "few", *rights, "+info")
        client.execute_command("ACL", "SETUSER", "fewer", *rights)
    opened = open_redis(server.url.replace("//", "//few:pw@"))
    opened.store.commit(session(ONE))
    assert opened.leases is not None
    assert opened.leases.claim(ONE) is None
    opened.store.close()
    assert "does not say its appendfsync" in caplog.text
    url = server.url.replace("//", "//fewer:pw@")
    assert "its user may not do that: allow it ~cellwire:*" in refusal(url)


def test_tls_is_used(started: Started, tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("needs openssl")
    key, certificate = str(tmp_path / "key.pem"), str(tmp_path / "certificate.pem")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"]
    files = ["-keyout", key, "-out", certificate]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *files, *names]
    subprocess.run(command, check=True, capture_output=True)
    port = free_port()
    options = {"tls_port": port, "tls_cert_file": certificate, "tls_key_file": key}
    started(**options, tls_ca_cert_file=certificate, tls_auth_clients="no")
    url = f"rediss://127.0.0.1:{port}/0"
    assert "certificate verify failed" in refusal(url)
    opened = open_redis(f"{url}?ssl_ca_certs={certificate}")
    opened.store.commit(session(ONE))
    opened.store.close()


@pytest.mark.parametrize("url", ["redis://host:port/0", "redis://host/0?socket_timeout=soon"])
def test_a_bad_address_is_said(url: str) -> None:
    assert "give --state a folder, or redis://HOST:PORT/DB" in refusal(url)


def test_the_configuration_opens_it(redis_server: RedisServer) -> None:
    opened = open_store(Config(state=redis_server.url, lease_s=2.5))
    assert opened is not None
    assert isinstance(opened.store, RedisStore)
    assert isinstance(opened.leases, RedisLeases)
    assert opened.leases.lease_s == 2.5
    opened.store.close()


def test_without_its_package_what_to_install_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(sys.modules):
        if name == "redis" or name.startswith("cellwire.server.store.redis"):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(CannotOpenStore, match="pip install 'cellwire\\[redis\\]'"):
        open_store(Config(state="redis://127.0.0.1/0"))
