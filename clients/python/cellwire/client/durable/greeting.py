"""The first message of each stream of a durable session, and what its answer means."""

from __future__ import annotations

from cellwire.client.durability import Durability
from cellwire.client.durable import recovery
from cellwire.client.durable.journal import Journal
from cellwire.client.durable.reconnection import is_hidden
from cellwire.client.errors import (
    Aborted,
    AlreadyExists,
    CellwireError,
    Internal,
    NotFound,
    OutOfRange,
)
from cellwire.client.values import Attached, Opened
from cellwire.client.wire.answers import answer_of, safe_point_of
from cellwire.v1.generation_pb2 import StreamSessionResponse
from cellwire.v1.operations_pb2 import Attach, Open

_ATTEMPTS_BESIDE = 4
"""After so many attempts the stream that is attached is another client's, not our lost one."""


class Greeting:
    """Opens a session or attaches to one, and attaches to it after each loss.

    An open that may have been carried out is sent again: if there is a session of its id by then,
    and it is new, the lost open has made it. A session that the daemon has lost before anything
    was safe is opened again.
    """

    def __init__(self, message: Open | Attach, journal: Journal) -> None:
        self.start: Opened | Attached | None = None
        """The session, once it is there."""
        self._journal = journal
        self._attach = message if isinstance(message, Attach) else None
        self._open: Open | None = None
        if isinstance(message, Open):
            self._open = Open()
            self._open.CopyFrom(message)
        self._opens = 0
        self._opening = self._open is not None
        self._with_text = True
        self._takeover = True
        self._aborted = False
        self._others = 0  # attempts that have met another stream

    def lost(self, cause: CellwireError) -> None:
        """Begin to come back.

        A stream that was aborted may have been taken over, and is not taken back.
        """
        self._others = 0
        self._aborted = isinstance(cause, Aborted)
        self._takeover = not (self._aborted or is_hidden(cause))

    def revealed(self, *, attached: bool | None) -> CellwireError | None:
        """Return the refusal that a proxy has hidden, by whether the session is attached to.

        None if it is not known; `attached` is None if there is no session.
        """
        if self._opening:
            return None if attached is None else AlreadyExists("there is a session of this id")
        if attached is None:
            return NotFound("there is no such session; it may have ended meanwhile")
        self._others += attached and not self._takeover
        if self._others >= _ATTEMPTS_BESIDE:
            return Aborted("another stream has taken the session over")
        return None

    def message(self) -> Open | Attach:
        """Return the message to begin a stream with."""
        if self._opening and self._open is not None:
            self._opens += 1
            return self._open
        if self.start is None and self._attach is not None:
            return self._attach
        session_id = self._open.session_id if self.start is None and self._open else self._id
        offset = recovery.missing_from(self._journal) if self._with_text else None
        return Attach(session_id=session_id, offset=offset, takeover=self._takeover)

    def refused(self, error: CellwireError) -> bool:
        """Take a refusal of the message; whether another message is to be tried at once."""
        if isinstance(error, AlreadyExists) and self._opening and self._opens > 1:
            self._opening = False
            return True
        if isinstance(error, OutOfRange) and self.start is not None and self._with_text:
            self._with_text = False  # the daemon has lost text that was not safe
            return True
        never_safe = self._open is not None and self._journal.safe is None
        lost = never_safe and not self._aborted  # else it was deleted
        if isinstance(error, NotFound) and lost and not self._opening:
            self._opening = True
            return True
        return False

    def take(self, response: StreamSessionResponse) -> None:
        """Take the answer to the message; raises the CellwireError that the session ends with."""
        answer = answer_of(response)
        safe = safe_point_of(response.safe) if response.HasField("safe") else None
        first, with_text = self.start is None, self._with_text
        self._opening, self._with_text = False, True
        if first and isinstance(answer, Opened | Attached):
            self.start = answer
        match answer:
            case Opened():
                if self._open is not None:
                    self._open.seed = answer.seed  # opened again, it is the same session
                attached = Attached(answer.session_id, answer.model, answer.seed, 0, "", ())
            case Attached() if first and self._attach is not None:
                recovery.adopt(self._journal, answer, response.revision, safe)
                return
            case Attached() if first and (answer.offset or answer.done):
                raise AlreadyExists(f"there is a session of the id {answer.session_id} already")
            case Attached():
                attached = answer
            case _:
                raise Internal("the daemon has answered an open or attach with something else")
        recovery.recover(self._journal, attached, response.revision, safe, with_text=with_text)

    @property
    def durable(self) -> bool:
        """Whether the session that is there outlives the daemon."""
        if isinstance(self.start, Attached) and self._attach is not None:
            return self.start.durability is not Durability.NONE
        return self._open is not None and bool(self._open.durability)

    @property
    def _id(self) -> str:
        return "" if self.start is None else self.start.session_id
