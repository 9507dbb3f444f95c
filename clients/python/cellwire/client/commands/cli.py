"""The `cellwire` script.

This is the one place where an error of any kind becomes one line on stderr and an exit status. It
imports nothing but the standard library, so it can say which extra is missing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.metadata import version

from cellwire.client.commands.outcome import Misused, standard_streams, status_of

_PREFIX = "CELLWIRE_"
_TERMINAL_PACKAGES = ("typer", "rich", "textual")


def main() -> None:
    """Run the command line; ends the process with the command's exit status."""
    # gRPC logs every connection that ends to stderr, which is for this program's own messages.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run a command line; return its exit status: 0, 1 if it failed, 2 if it is wrong."""
    standard_streams()
    return status_of(lambda: _run(arguments))


def _run(arguments: Sequence[str]) -> int:
    texts = [_text(text, f"argument {number}") for number, text in enumerate(arguments, 1)]
    for name, value in os.environ.items():
        if name.startswith(_PREFIX):
            _text(value, name)
    try:
        from cellwire.client.commands.app import run_app
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _TERMINAL_PACKAGES:
            raise
        if texts[:1] == ["--version"]:
            sys.stdout.write(f"{version('cellwire')}\n")
            return 0
        raise Misused(
            "the terminal commands need the cli extra: pip install 'cellwire[cli]'; without it "
            "there is the Python library, cellwire.client"
        ) from None
    return run_app(texts)


def _text(text: str, source: str) -> str:
    """Return what was given as text, whatever the locale; Misused if it is not UTF-8."""
    try:
        text.encode()
    except UnicodeEncodeError:
        pass
    else:
        return text
    try:
        return os.fsencode(text).decode()  # a locale of ASCII, and UTF-8 all the same
    except (UnicodeDecodeError, UnicodeEncodeError):
        shown = text.encode("utf-8", "backslashreplace").decode().replace("\\udc", "\\x")
        raise Misused(
            f"{source} is not UTF-8: {shown}; give it in UTF-8, and give a file a name in UTF-8"
        ) from None
