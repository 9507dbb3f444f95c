"""Begins a session's stream, durable or not."""

from __future__ import annotations

from typing import NamedTuple

from cellwire.client.durable.comeback import Comeback
from cellwire.client.durable.greeting import Greeting
from cellwire.client.durable.journal import Journal
from cellwire.client.durable.reconnection import Reconnection
from cellwire.client.durable.stream import DurableStream
from cellwire.client.errors import Internal
from cellwire.client.values import Attached, Opened
from cellwire.client.wire.connection import Connection
from cellwire.client.wire.exchange import SessionStream
from cellwire.client.wire.link import Links, new_operation_id
from cellwire.client.wire.session_id import new_session_id
from cellwire.client.wire.stream import Stream
from cellwire.v1.operations_pb2 import Attach, Open


class Begun(NamedTuple):
    """A session that is there, and its stream."""

    stream: SessionStream
    start: Opened | Attached


class Beginning:
    """Opens a session or attaches to one.

    What is durable, or may be, is tried again as `reconnection` says; None does not.
    """

    def __init__(
        self,
        connection: Connection,
        message: Open | Attach,
        reconnection: Reconnection | None,
    ) -> None:
        durable = isinstance(message, Attach) or message.durability
        self._reconnection = reconnection if durable else None
        self._connection = connection
        self._message = message

    async def begin(self) -> Begun:
        """Return the session and its stream; raises the CellwireError that it is refused with."""
        message = self._message
        if isinstance(message, Open) and not message.HasField("session_id"):
            opening = Open(session_id=new_session_id())
            opening.MergeFrom(message)
            message = opening
        journal = Journal(new_operation_id())
        greeting = Greeting(message, journal)
        links = Links(self._connection, message.session_id)
        comeback = Comeback(links, greeting, journal, self._reconnection)
        link = await comeback.first()
        start = greeting.start
        if start is None:
            raise Internal("a session that has begun is known")
        if greeting.durable:
            return Begun(DurableStream(link, start, journal, comeback), start)
        return Begun(Stream(link, start), start)
