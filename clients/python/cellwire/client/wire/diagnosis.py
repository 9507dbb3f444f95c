"""Why a daemon could not be reached, found by trying again with plain sockets.

gRPC tells a program only that it failed. Its texts about the reason are for its log, and change.
"""

from __future__ import annotations

import asyncio
import os
import socket
import urllib.parse
from contextlib import suppress
from urllib.request import proxy_bypass_environment  # type: ignore[attr-defined]  # not in its stubs

from cellwire.client.wire.target import Target

PROBE_TIMEOUT_S = 2.0
"""How long each look at a port may take."""

# HTTP/2's first bytes, and an empty frame of settings.
_HELLO = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes((0, 0, 0, 4, 0, 0, 0, 0, 0))
_TLS_RECORDS = (0x14, 0x15, 0x16, 0x17)
_PROXY_VARIABLES = ("grpc_proxy", "https_proxy", "http_proxy")  # in gRPC's order
_NO_PROXY_VARIABLES = ("no_grpc_proxy", "no_proxy")
_CONNECTED = "200"
_START_ONE = "nothing listens there; start one with: cellwire serve"


class _Failed(Exception):
    """A port cannot be looked at; the message says why."""


async def cause_of_failure(target: Target) -> str:
    """Return why nothing could be reached at a target, and what to do."""
    if not target.host:
        return f"no daemon listens on {target.name}"
    try:
        if not target.is_local and (proxy := proxy_for(target)):
            return await _of_proxy(target, *proxy)
        return await _of_port(target.host, target.port)
    except _Failed as failed:
        return str(failed)


def proxy_for(target: Target) -> tuple[str, str] | None:
    """Return the environment variable that names gRPC's proxy for a target, and its value."""
    named = ((name, os.environ.get(name, "")) for name in _PROXY_VARIABLES)
    proxy = next((pair for pair in named if pair[1]), None)
    bypassed = next(filter(None, map(os.environ.get, _NO_PROXY_VARIABLES)), "")
    return None if proxy_bypass_environment(target.host, {"no": bypassed}) else proxy


async def _of_port(host: str, port: int) -> str:
    """Look at what listens on a port."""
    reader, writer = await _connection(host, port, _START_ONE)
    try:
        writer.write(_HELLO)
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            answer = await reader.read(9)
    except TimeoutError:
        return f"something listens there, and has not answered within {PROBE_TIMEOUT_S:g} s"
    except OSError:
        answer = b""
    finally:
        await _close(writer)
    return _of_answer(answer)


def _of_answer(answer: bytes) -> str:
    """Return what answers HTTP/2's first bytes so."""
    if answer[:1] and answer[0] in _TLS_RECORDS and answer[1:2] == b"\x03":
        return (
            "it speaks TLS, which this client does not; give the port of the daemon itself, or of "
            "a proxy without TLS"
        )
    if answer.startswith(b"HTTP/1"):
        return "a web server (HTTP/1) listens there, not a daemon; give the daemon's port"
    if answer[3:4] == b"\x04":
        return "a server listens there, and the connection broke; try again"
    if not answer:
        return (
            "something listens there and ends the connection: a daemon does not; a port for TLS "
            "may. Give the daemon's port"
        )
    return "something else than a daemon listens there; give the daemon's port"


async def _of_proxy(target: Target, variable: str, url: str) -> str:
    """Look at a proxy, and at what it says about a target."""
    proxy = urllib.parse.urlsplit(url if "://" in url else f"http://{url}")
    named = f"the proxy {proxy.hostname or url} (from {variable})"
    advice = f"for a direct connection, unset {variable} or set no_proxy={target.host}"
    try:
        host, port = proxy.hostname or "", proxy.port or 80
    except ValueError:
        host, port = "", 0
    if not host:
        return f"{variable} is {url!r}, which is no proxy's address; {advice}"
    try:
        reader, writer = await _connection(host, port, "nothing listens there")
    except _Failed as failed:
        return f"{named} cannot be reached: {failed}; {advice}"
    try:
        place = target.name.rpartition("/")[2]
        writer.write(f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n\r\n".encode())
        async with asyncio.timeout(PROBE_TIMEOUT_S):
            status = (await reader.readline()).decode("latin-1").split(maxsplit=1)[1:]
    except (TimeoutError, OSError, ValueError):
        status = []
    finally:
        await _close(writer)
    if status and status[0].startswith(_CONNECTED):
        return f"{named} reaches it, and no daemon answers behind it; {advice}"
    answered = f"answers {status[0].strip()}" if status else "does not answer"
    return f"{named} {answered}; {advice}"


async def _connection(
    host: str, port: int, refused: str
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the first of a host's addresses that answers; or raise how the last one failed.

    `refused` is what is said if nothing listens.
    """
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (socket.gaierror, UnicodeError):
        raise _Failed(f"there is no host {host!r}; is the name right?") from None
    failure = f"there is no host {host!r}"
    for *_, address in found:
        try:
            async with asyncio.timeout(PROBE_TIMEOUT_S):
                return await asyncio.open_connection(*address[:2])
        except TimeoutError:
            failure = (
                f"no answer within {PROBE_TIMEOUT_S:g} s; is the machine on, and does a firewall "
                "let the port through?"
            )
        except ConnectionRefusedError:
            failure = refused
        except OSError as error:
            failure = error.strerror or str(error)
    raise _Failed(failure)


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
