"""The daemon's errors; `rpc/status.py` maps them to gRPC statuses, whose names most of them bear.

CellwireError
    InvalidArgument      the request itself is wrong
        UnknownSymbol    a text holds a symbol that the model does not know
    NotFound             no such model, session or operation
    FailedPrecondition   not possible in the present state
        HasClientElsewhere   another daemon has the session, with a client
    OutOfRange           beyond the session's text, or the part of it that is kept
    AlreadyExists        the name is taken
    PermissionDenied     not allowed by the daemon's configuration
    ResourceExhausted    no room; retry later
    Aborted              the session was deleted or taken over, or its model unloaded
        Moved            another daemon holds the session now
    Unavailable          the daemon is shutting down, or its store cannot be used now
    Internal             a fault of the daemon
        StepFailed       the model could not be run
    NotCompiled          a program could not be compiled; no state is spoiled
    DamagedRecord        what is stored of a session cannot be read
    StoreFailed          the store of sessions cannot read or write now
NoCuda                   no CUDA device can be used (start only)
CannotListen             the address cannot be listened on (start only)
CannotOpenStore          the store of sessions cannot be opened (start only)
    StoreInUse           another daemon has it
TwoRuntimes              two builds of ONNX Runtime are installed (start only)

Each message says what was wrong and, where it helps, what to do.
"""

from __future__ import annotations

from cellwire.model_file import errors as model_file


class CellwireError(Exception):
    """The base of all errors that are answered with a status."""


class InvalidArgument(CellwireError):
    """The request is wrong, whatever the state of the session."""

    def __init__(self, message: str, *, field: str = "") -> None:
        """`field` names the field of the request that is wrong, if it is a single one."""
        super().__init__(message)
        self.field = field


class UnknownSymbol(InvalidArgument):
    """A text holds a symbol that the model does not know."""

    def __init__(
        self, error: model_file.UnknownSymbol, *, field: str = "text", where: str = ""
    ) -> None:
        """`where` begins the message, to say which of several texts it is."""
        super().__init__(where + error.message(field), field=field)
        self.symbol = error.symbol
        self.offset = error.offset


class NotFound(CellwireError):
    """There is no model, session or operation of that name."""


class FailedPrecondition(CellwireError):
    """The request is not possible in the present state of the session or the daemon."""


class HasClientElsewhere(FailedPrecondition):
    """Another daemon has the session, with a client or at work, and keeps it."""


class OutOfRange(CellwireError):
    """The request reaches beyond the session's text, or beyond the part that is kept."""


class AlreadyExists(CellwireError):
    """The name is taken."""


class PermissionDenied(CellwireError):
    """The daemon's configuration does not allow the request."""


class ResourceExhausted(CellwireError):
    """There is no room now; a later attempt may succeed."""


class Aborted(CellwireError):
    """The session was deleted or taken over, or its model was unloaded."""


class Moved(Aborted):
    """Another daemon holds the session now; any daemon finds it."""


class Unavailable(CellwireError):
    """The daemon is shutting down, or its store cannot be used now; a later attempt may succeed."""

    def __init__(self, message: str = "the daemon is shutting down") -> None:
        super().__init__(message)


class Internal(CellwireError):
    """A fault of the daemon; its log holds the traceback."""


class StepFailed(Internal):
    """The model could not be run, or its output is not a number."""


class NotCompiled(CellwireError):
    """A program could not be compiled, for want of memory for example. No state is spoiled."""


class DamagedRecord(CellwireError):
    """What is stored of a session cannot be read; other sessions are not concerned."""

    def __init__(self, message: str, *, session_id: str = "") -> None:
        """`session_id` names the session."""
        super().__init__(message)
        self.session_id = session_id


class StoreFailed(CellwireError):
    """The store of sessions cannot read or write now; it may be well again later."""


class NoCuda(Exception):
    """No CUDA device can be used; the message says what is missing."""


class CannotListen(Exception):
    """The address cannot be listened on."""


class CannotOpenStore(Exception):
    """The store of sessions cannot be opened; the message says why, and what to do."""


class StoreInUse(CannotOpenStore):
    """Another process uses the folder of the store."""

    def __init__(self, folder: object, holder: str) -> None:
        """`holder` names that process."""
        super().__init__(
            f"the state folder {folder} is in use by {holder}; stop that daemon, or give this one "
            "another folder with --state"
        )
        self.holder = holder


class TwoRuntimes(Exception):
    """Two builds of ONNX Runtime are installed, over each other."""
