"""The leases of a daemon in a Redis server."""

from __future__ import annotations

import contextlib
import uuid
from collections.abc import Callable, Sequence
from time import monotonic

import msgspec
import redis

from cellwire.server.errors import StoreFailed
from cellwire.server.store.checks import not_stored
from cellwire.server.store.leases import Holder, LeaseMessage
from cellwire.server.store.record import Damaged
from cellwire.server.store.redis_claims import Claim, Claims
from cellwire.server.store.redis_keys import DAEMON, hash_key, unseal_place
from cellwire.server.store.redis_link import RedisLink
from cellwire.server.store.redis_rows import Held
from cellwire.server.store.redis_scripts import CLAIM, RENEW
from cellwire.server.store.redis_wanted import read_held

_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(LeaseMessage)


class RedisLeases:
    """Holds the lease of one daemon, from the start on."""

    def __init__(self, link: RedisLink, lease_s: float) -> None:
        """Take the lease, and listen; StoreFailed."""
        self.daemon_id = uuid.uuid4().hex
        self.lease_s = lease_s
        self.claims = Claims()
        self._link = link
        self._key = DAEMON + self.daemon_id
        self.notice: Callable[[str], None] = lambda _: None  # hears what names the server's process
        self.run_id = ""
        self._subscription = link.listen(self._key)
        self.renew()

    def renew(self) -> bool:
        """Let the lease last from now on; False if it had run out."""
        milliseconds = max(1, round(self.lease_s * 1_000))
        had_run_out, info = self._link.run(
            ("EVAL", RENEW, 1, self._key, milliseconds), ("INFO", "server")
        )
        self.run_id = str(info.get("run_id", ""))
        self.notice(self.run_id)
        return not had_run_out

    def claim(self, session_id: str) -> Holder | None:
        """Let this daemon hold a session, or return who does."""
        (answer,) = self._link.write(
            ("EVAL", CLAIM, 1, hash_key(session_id), self.daemon_id, DAEMON)
        )
        match answer:
            case [b"held", holder]:
                return Holder(holder.decode(errors="replace"))
            case [b"claimed", epoch, record]:
                place = None
                with contextlib.suppress(Damaged):  # whoever reads the session says so
                    place = unseal_place(session_id, record)
                self.claims.note(session_id, Claim(epoch, place))
                return None
        raise not_stored(session_id)

    def lost(self, session_ids: Sequence[str]) -> list[str]:
        """Return the sessions that another daemon has claimed or deleted since."""
        reads = read_held(self._link, session_ids)
        lost = []
        for name in session_ids:
            claim = self.claims.get(name)
            epoch = claim.epoch if claim else 0
            with contextlib.suppress(Damaged):
                held = Held.read(name, reads[name]())
                if held is None:
                    is_lost = epoch > 0
                else:
                    is_lost = held.epoch > epoch and held.holder != self.daemon_id
                if is_lost:
                    lost.append(name)
        return lost

    def send(self, daemon_id: str, message: LeaseMessage) -> bool:
        """Send a message to a daemon; False if it does not listen."""
        (heard,) = self._link.run(("PUBLISH", DAEMON + daemon_id, _ENCODER.encode(message)))
        return bool(heard)

    def receive(self, timeout_s: float) -> LeaseMessage | None:
        """Return the next message to this daemon."""
        until_s = monotonic() + timeout_s
        while True:
            left_s = until_s - monotonic()
            with self._link.failing():
                found = self._subscription.get_message(timeout=max(0.0, left_s))
            if found is not None and found["type"] == "message":
                # Whatever else is published there is passed over.
                with contextlib.suppress(msgspec.MsgspecError, UnicodeDecodeError):
                    return _DECODER.decode(found["data"])
            if left_s <= 0:
                return None

    def resign(self) -> None:
        """End the lease."""
        with contextlib.suppress(redis.RedisError, OSError):
            self._subscription.close()
        with contextlib.suppress(StoreFailed):  # it runs out
            self._link.run(("DEL", self._key))
