"""Gets a durable session its first stream, and another after each loss."""

from __future__ import annotations

import asyncio

from cellwire.client.durable.greeting import Greeting
from cellwire.client.durable.journal import Journal
from cellwire.client.durable.reconnection import (
    Backoff,
    ConnectionLost,
    ConnectionRestored,
    Reconnection,
    is_hidden,
    is_loss,
    is_temporary,
)
from cellwire.client.errors import (
    Aborted,
    CellwireError,
    FailedPrecondition,
    NotFound,
    Unreachable,
)
from cellwire.client.wire.link import Link, Links

_AFTER_ABORTED = (Aborted, FailedPrecondition, NotFound)


class Comeback:
    """Starts streams, until one is there or its time is over.

    While nothing listens, gRPC connects again and again by itself; an attempt waits for that.
    """

    def __init__(
        self,
        links: Links,
        greeting: Greeting,
        journal: Journal,
        reconnection: Reconnection | None,
    ) -> None:
        self._links = links
        self._greeting = greeting
        self._journal = journal
        self._reconnection = reconnection

    async def first(self) -> Link:
        """Open the session, or attach to it; raises the CellwireError of the last attempt."""
        try:
            return await self._attempt(wait=False)
        except CellwireError as error:
            if self._reconnection is None or not is_temporary(error):
                raise
            return await self._retry(error, self._reconnection)

    async def again(self, loss: CellwireError) -> Link:
        """Attach again after a loss.

        Raises what it was lost by if that cannot be mended, else the CellwireError of the last
        attempt.
        """
        reconnection = self._reconnection
        if reconnection is None or not (is_loss(loss) or isinstance(loss, Aborted)):
            raise loss
        start = self._greeting.start
        session_id = "" if start is None else start.session_id
        lost_s = _now_s()
        self._tell(ConnectionLost(session_id, loss))
        self._greeting.lost(loss)
        try:
            link = await self._retry(loss, reconnection)
        except CellwireError as error:
            # What has ended the stream has refused another one, too, and said it better.
            if isinstance(loss, Aborted) and isinstance(error, _AFTER_ABORTED):
                raise loss from error
            raise
        self._tell(ConnectionRestored(session_id, _now_s() - lost_s))
        return link

    async def _retry(self, error: CellwireError, reconnection: Reconnection) -> Link:
        backoff = Backoff(reconnection.timeout_s, _now_s())
        while (delay_s := backoff.delay_s(error, _now_s())) is not None:
            await asyncio.sleep(delay_s)
            try:
                async with asyncio.timeout(backoff.left_s(_now_s())):
                    return await self._attempt(wait=True)
            except TimeoutError:
                raise Unreachable(
                    f"the daemon could not be reached for {reconnection.timeout_s:g} s; "
                    f"it was lost by: {error}"
                ) from error
            except CellwireError as refusal:
                if not is_temporary(refusal):
                    raise
                error = refusal
        raise error

    async def _attempt(self, *, wait: bool) -> Link:
        """Begin one stream; raises the CellwireError that it is refused with."""
        while True:
            link = self._links.start(wait=wait)
            try:
                message = self._greeting.message()
                response = await link.first(self._journal.outgoing.new_id(), message)
                self._greeting.take(response)
            except CellwireError as error:
                await link.aclose()
                error = await self._revealed(error)
                if not self._greeting.refused(error):
                    raise error from None
            except BaseException:
                await link.aclose()
                raise
            else:
                if self._journal.failure is None:
                    return link
                await link.aclose()
                raise self._journal.failure

    async def _revealed(self, error: CellwireError) -> CellwireError:
        """Return the refusal that a proxy may have hidden."""
        if not is_hidden(error):
            return error
        attached: bool | None = None
        try:
            attached = await self._links.is_attached()
        except NotFound:
            pass
        except CellwireError as unknown:
            return unknown
        return self._greeting.revealed(attached=attached) or error

    def _tell(self, news: ConnectionLost | ConnectionRestored) -> None:
        """Tell the caller, whose errors are the event loop's to report."""
        if self._reconnection is not None and self._reconnection.on_reconnect is not None:
            asyncio.get_running_loop().call_soon(self._reconnection.on_reconnect, news)


def _now_s() -> float:
    return asyncio.get_running_loop().time()
