"""The address that a daemon listens on."""

from __future__ import annotations

import errno
import ipaddress
import os
import socket

from grpc import aio

from cellwire.server.errors import CannotListen

_EXAMPLE = "127.0.0.1:50051"
_MAX_PORT = 65_535
_CAUSES = {
    errno.EADDRINUSE: "the port is taken by another program; stop it, or choose another port",
    errno.EADDRNOTAVAIL: "the address is not one of this machine's; 0.0.0.0 stands for all of them",
    errno.EACCES: "this user may not; choose a port from 1024 on",
}


def bind(server: aio.Server, listen: str) -> str:
    """Listen; return the address with the port that was assigned. CannotListen says why not."""
    check(listen)
    try:
        assigned = server.add_insecure_port(listen)
    except (RuntimeError, UnicodeEncodeError) as error:
        raise _cannot(listen, f"{error}; choose another with --listen HOST:PORT") from error
    return f"{listen.rpartition(':')[0]}:{assigned}"


def check(listen: str) -> None:
    """Raise CannotListen, with the cause, if an address cannot be listened on.

    gRPC itself would write a line of its own about that, before ours and without the cause.
    """
    host, port = _parts(listen)
    _try(listen, host, port)


def is_open_to_others(listen: str) -> bool:
    """Return whether other machines may reach an address that is listened on."""
    host = listen.rpartition(":")[0].strip("[]")
    try:
        return not ipaddress.ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.lower() != "localhost"


def _parts(listen: str) -> tuple[str, int]:
    """Return host and port of an address."""
    host, _, port = listen.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    if ":" in host and host != f"[{bare}]":
        raise _cannot(listen, f"an IPv6 address needs brackets, as in [::1]:{_EXAMPLE[-5:]}")
    if not (bare and port.isascii() and port.isdigit() and int(port[:6]) <= _MAX_PORT):
        raise _cannot(listen, f"give HOST:PORT, for example {_EXAMPLE}")
    return bare, int(port)


def _try(listen: str, host: str, port: int) -> None:
    """Bind each address of a host for a moment, as gRPC is about to.

    One of several may not be there, as that of IPv6. A taken one counts, though the others are
    free: clients of the same name would reach another program.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (socket.gaierror, UnicodeError):
        raise _cannot(listen, f"there is no host {host!r}; 0.0.0.0 stands for all") from None
    failures = []
    for family, kind, protocol, _, address in found:
        try:
            with socket.socket(family, kind, protocol) as probe:
                if os.name == "posix":  # elsewhere it would let two programs share a port
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
                probe.listen(1)
        except OSError as error:
            failures.append(error)
    taken = [error for error in failures if error.errno == errno.EADDRINUSE]
    if taken or len(failures) == len(found):
        failure = (taken or failures)[0]
        cause = _CAUSES.get(failure.errno or 0, failure.strerror)
        raise _cannot(listen, f"{cause}; --listen HOST:PORT, port 0 takes a free one")


def _cannot(listen: str, why: str) -> CannotListen:
    return CannotListen(f"cannot listen on {listen!r}: {why}")
