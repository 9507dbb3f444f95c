"""The target of a client: the address of a daemon."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from cellwire.client.errors import InvalidArgument

EXAMPLE = "127.0.0.1:50051"

_MAX_PORT = 65_535
_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
_GRPC_SCHEMES = ("dns:", "ipv4:", "ipv6:")
_UNIX_SCHEMES = ("unix:", "unix-abstract:", "vsock:")
# An internationalised name, too; what cannot be in any name is refused here, with its reason.
_HOST = re.compile(r"[^\s/@?#\\\[\]:]+")


@dataclass(frozen=True, slots=True)
class Target:
    """Where a daemon is, as gRPC takes it, and, if that is HOST:PORT, its parts."""

    name: str
    host: str = ""
    """Empty for a socket that has no host, as of Unix."""
    port: int = 0

    @classmethod
    def of(cls, text: str) -> Target:
        """Return the target of HOST:PORT, [IPV6]:PORT, or of gRPC's names; InvalidArgument."""
        address = text.strip()
        if any(ord(character) < ord(" ") or character == "\x7f" for character in address):
            raise _wrong(text, "holds a control character")
        try:
            address.encode()
        except UnicodeEncodeError:
            raise _wrong(text, "is not UTF-8") from None
        if address.startswith(_UNIX_SCHEMES):
            return cls(address)
        for scheme in _GRPC_SCHEMES:
            if address.startswith(scheme):
                host, port = _split(text, address.removeprefix(scheme).rpartition("/")[2])
                return cls(address, host, port)
        if url := _URL.fullmatch(address):
            raise _wrong(text, f"begins with {url[1]}://, as a web page's does; leave it out")
        host, port = _split(text, address)
        return cls(f"[{host}]:{port}" if ":" in host else f"{host}:{port}", host, port)

    @property
    def is_local(self) -> bool:
        """Whether it is on this machine, where no proxy can be between."""
        if not self.host:
            return True
        try:
            return ipaddress.ip_address(self.host.partition("%")[0]).is_loopback
        except ValueError:
            return self.host.lower().rstrip(".") in ("localhost", "ip6-localhost", "ip6-loopback")


def _split(text: str, address: str) -> tuple[str, int]:
    """Return host and port of an address."""
    if address.startswith("["):
        host, bracket, rest = address[1:].partition("]")
        if not bracket or not _is_ipv6(host):
            raise _wrong(text, "has no IPv6 address between its brackets")
        port = rest.removeprefix(":") if rest.startswith(":") else ""
    elif _is_ipv6(address):
        raise _wrong(text, f"is an IPv6 address; in brackets, with a port: [{address}]:50051")
    else:
        host, _, port = address.rpartition(":")
        if ":" not in address:
            host, port = port, ""
        if ":" in host:
            raise _wrong(text, f"has colons in its host; an IPv6 address needs brackets: [{host}]")
        if not _HOST.fullmatch(host):
            raise _wrong(text, "has no host" if not host else f"has no host in {host!r}")
    if not port:
        raise _wrong(text, "has no port")
    if not (port.isascii() and port.isdigit() and 0 < int(port[:6]) <= _MAX_PORT):
        raise _wrong(text, f"has no port in {port!r}, which is none from 1 to {_MAX_PORT:,}")
    return host, int(port)


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return True


def _wrong(text: str, fault: str) -> InvalidArgument:
    return InvalidArgument(f"the target {text!r} {fault}; give HOST:PORT, for example {EXAMPLE}")
