"""A client's calls about sessions, from outside their streams."""

from __future__ import annotations

from abc import ABC, abstractmethod

from cellwire.client.durability import Durability
from cellwire.client.options import DurabilityName
from cellwire.client.values import SessionInfo
from cellwire.client.wire.answers import session_of
from cellwire.client.wire.call import response_of
from cellwire.client.wire.connection import Connection
from cellwire.client.wire.requests import durability_number
from cellwire.client.wire.session_id import metadata_of, new_session_id
from cellwire.v1 import sessions_pb2


class SessionCalls(ABC):
    """The calls of SessionsService; each names its session to the proxies on its way."""

    @property
    @abstractmethod
    def _open(self) -> Connection:
        """The connection; FailedPrecondition or Cancelled if there is none."""

    async def get_session(self, session_id: str) -> SessionInfo:
        """Return a session's position and activity. Raises NotFound if there is no such session."""
        request = sessions_pb2.GetSessionRequest(session_id=session_id)
        response = await response_of(
            self._open.sessions.GetSession(request, metadata=metadata_of(session_id))
        )
        return session_of(response.session)

    async def fork_session(self, session_id: str, *, seed: int | None = None) -> SessionInfo:
        """Copy a session as it is at this moment, even while a stream is attached to it.

        Raises NotFound if there is no such session, ResourceExhausted if there is no room.
        """
        request = sessions_pb2.ForkSessionRequest(session_id=session_id, seed=seed)
        response = await response_of(
            self._open.sessions.ForkSession(request, metadata=metadata_of(session_id))
        )
        return session_of(response.session)

    async def export_session(self, session_id: str) -> bytes:
        """Return a session as bytes, to continue it on this daemon or on another.

        Raises NotFound if there is no such session.
        """
        request = sessions_pb2.ExportSessionRequest(session_id=session_id)
        response = await response_of(
            self._open.sessions.ExportSession(request, metadata=metadata_of(session_id))
        )
        return response.snapshot

    async def import_session(
        self,
        snapshot: bytes,
        *,
        session_id: str | None = None,
        durability: Durability | DurabilityName = Durability.NONE,
    ) -> SessionInfo:
        """Create a session from the bytes of `export_session`; no stream is attached to it.

        It has a new id, or the one given. Raises InvalidArgument if the bytes are damaged,
        AlreadyExists if there is a session of this id, FailedPrecondition if the daemon does not
        serve their model or has no store for a durable session, ResourceExhausted if there is no
        room.
        """
        session_id = session_id or new_session_id()
        request = sessions_pb2.ImportSessionRequest(
            snapshot=snapshot, session_id=session_id, durability=durability_number(durability)
        )
        call = self._open.sessions.ImportSession(request, metadata=metadata_of(session_id))
        response = await response_of(call)
        return session_of(response.session)

    async def delete_session(self, session_id: str) -> None:
        """Delete a session at once, even while a stream is attached to it.

        Raises NotFound if there is no such session.
        """
        request = sessions_pb2.DeleteSessionRequest(session_id=session_id)
        await response_of(
            self._open.sessions.DeleteSession(request, metadata=metadata_of(session_id))
        )
