"""The daemon's errors, as its core knows them; `rpc/status.py` turns them into gRPC statuses.

CellwireError
    InvalidRequest       the request itself is wrong
        UnknownSymbol    a text holds a symbol the model does not know
    NotFound             no such model, session or operation
    WrongState           right in itself, but not now
    OutOfRange           further than the session reaches
    Exists               there is one by that name already
    Forbidden            the daemon was not started with leave for this
    Full                 no room: try again later
    Ended                the session was deleted, taken over, or its model unloaded
    Draining             the daemon is shutting down
    StepFailed           the model could not be run
    NotCompiled          a program that was needed could not be made; no state has changed
    Fault                a mistake of the daemon's own
    BadModel             a model file cannot be served (never reaches a client)
    NoCuda               no CUDA card can be used (never reaches a client)
    CannotListen         the address cannot be listened on (never reaches a client)

Each message says what was wrong and, where it helps, what to do.
"""

from __future__ import annotations

_SHOWN = 8  # code points of an unknown word
_SHOWN_CHARS = 40  # of the word itself: a word may be as long as the text


def _code_points(symbol: str) -> str:
    return " ".join(f"U+{ord(character):04X}" for character in symbol[:_SHOWN])


class CellwireError(Exception):
    """The base of every error that has an answer of its own."""


class InvalidRequest(CellwireError):
    """The request is wrong, whatever the state of the session."""


class UnknownSymbol(InvalidRequest):
    """A text holds a symbol that the model does not know."""

    def __init__(self, symbol: str, offset: int) -> None:
        shown = symbol if len(symbol) <= _SHOWN_CHARS else symbol[:_SHOWN_CHARS] + "..."
        super().__init__(
            f"the model does not know the symbol {shown!r} ({_code_points(symbol)}) "
            f"at offset {offset} of the text"
        )
        self.symbol = symbol
        self.offset = offset


class NotFound(CellwireError):
    """There is nothing by that name."""


class WrongState(CellwireError):
    """The request cannot be carried out in the session's present state."""


class OutOfRange(CellwireError):
    """The request reaches further than the session does."""


class Exists(CellwireError):
    """There is something by that name already."""


class Forbidden(CellwireError):
    """The daemon was not started in a way that allows this."""


class Full(CellwireError):
    """There is no room for more; it may come."""


class Ended(CellwireError):
    """Somebody else has ended the session, or taken it."""


class Draining(CellwireError):
    """The daemon is shutting down."""


class StepFailed(CellwireError):
    """The model could not be run, or what came out is not a number."""


class NotCompiled(CellwireError):
    """A program could not be made: the memory may be full. All states are as they were."""


class Fault(CellwireError):
    """The daemon has made a mistake; its log holds the traceback."""


class BadModel(CellwireError):
    """A model file cannot be served; the message names the file and the fault."""


class NoCuda(CellwireError):
    """No CUDA card can be used; the message says what is missing (never reaches a client)."""


class CannotListen(CellwireError):
    """The address cannot be listened on (never reaches a client)."""
