"""The connections to a Redis server, and its errors in words."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.client import PubSub
from redis.retry import Retry

from cellwire.server.errors import CannotOpenStore, StoreFailed
from cellwire.server.store.address import without_password
from cellwire.server.store.record import Damaged
from cellwire.server.store.redis_keys import PROBE

Command = Sequence[bytes | str | float]
Read = Callable[[], Any]

_BY_BEGINNING = {
    "MISCONF": "it cannot write to its disk: look at its log",
    "NOREPLICAS": "it has fewer replicas than its min-replicas-to-write: start them",
    "NOAUTH": "it wants a password: give --state redis://:PASSWORD@HOST:PORT/DB",
    "MOVED": "it is a cluster: give --state the address of a single server",
    "MASTERDOWN": "it is a replica that has lost its primary: give --state the primary's address",
    "BUSY": "a script of another program keeps it busy: end it with SCRIPT KILL",
}
_BY_KIND: tuple[tuple[type[redis.RedisError], str], ...] = (
    (redis.BusyLoadingError, "it reads its data from the disk, and answers when that is done"),
    (redis.ReadOnlyError, "it is a replica: give --state the primary's address"),
    (redis.OutOfMemoryError, "its maxmemory is reached: raise it, or delete sessions"),
    (
        redis.exceptions.NoPermissionError,
        "its user may not do that: allow it ~cellwire:* &cellwire:* +@all -@dangerous +info",
    ),
    (redis.AuthenticationError, "see the user and the password of --state"),
    (redis.TimeoutError, "it does not answer in time: see whether it hangs, or its disk is slow"),
    (redis.ConnectionError, "see that it runs, and that this machine reaches it"),
)


class RedisLink:
    """Sends commands to one server. Any thread may use it; StoreFailed."""

    def __init__(
        self, url: str, *, replicas: int = 0, timeout_s: float = 5.0, wait_s: float = 2.0
    ) -> None:
        """Send nothing yet. What is written is waited for, `wait_s`, to be in so many replicas."""
        self.name = without_password(url)
        self._replicas = replicas
        self._wait_ms = round(wait_s * 1_000)
        options: dict[str, Any] = {
            "socket_timeout": timeout_s,
            "socket_connect_timeout": timeout_s,
            # A connection that a restart has left behind is noticed when it is used again. What was
            # carried out already changes nothing, so it may be sent twice.
            "retry": Retry(NoBackoff(), 1, (redis.ConnectionError,)),
            "client_name": "cellwire",
            "protocol": 2,
        }
        try:
            self._client = redis.Redis.from_url(url, **options)
        except (ValueError, TypeError) as error:
            raise CannotOpenStore(
                f"{self.name} is no address of a store: {error}; give --state a folder, or "
                "redis://HOST:PORT/DB"
            ) from error

    def read(self, *commands: Command) -> list[Any]:
        """Return the answers to commands, which see the same moment; Damaged."""
        return [read() for read in self.read_each(commands)]

    def read_each(self, commands: Sequence[Command]) -> list[Read]:
        """Return what returns each command's answer, or raises Damaged where the key is no such."""
        return [partial(_checked, answer) for answer in self._run(commands, transaction=True)]

    def run(self, *commands: Command) -> list[Any]:
        """Return the answers to commands."""
        return self._run(commands, transaction=False)

    def write(self, *commands: Command) -> list[Any]:
        """Return the answers to commands when as many replicas as were asked for have them."""
        if not self._replicas:
            return self.run(*commands)
        # A command that changes nothing would not be waited for.
        waits: list[Command] = [("SET", PROBE, "1"), ("WAIT", self._replicas, self._wait_ms)]
        *answers, _, reached = self._run([*commands, *waits], transaction=False)
        if reached < self._replicas:
            raise StoreFailed(
                f"what is written to the Redis server {self.name} has reached {reached} replicas "
                f"in {self._wait_ms / 1_000:g} s, and --state-replicas asks for {self._replicas}: "
                "see that they run and follow it"
            )
        return answers

    def listen(self, channel: str) -> PubSub:
        """Return a subscription to a channel, which has begun."""
        with self.failing():
            subscription = PubSub(self._client.connection_pool, ignore_subscribe_messages=True)
            subscription.subscribe(channel)
            subscription.get_message(timeout=self._wait_ms / 1_000)
            return subscription

    def disconnect(self) -> None:
        """Close the connections that are idle; new ones are made when they are needed."""
        with contextlib.suppress(redis.RedisError, OSError):
            self._client.connection_pool.disconnect(inuse_connections=False)

    def close(self) -> None:
        """Close all connections."""
        with contextlib.suppress(redis.RedisError, OSError):
            self._client.connection_pool.disconnect()

    @contextlib.contextmanager
    def failing(self) -> Iterator[None]:
        """Turn Redis' errors into StoreFailed."""
        try:
            yield
        except (redis.RedisError, OSError) as error:
            raise StoreFailed(f"the Redis server {self.name} failed: {in_words(error)}") from error

    def _run(self, commands: Sequence[Command], *, transaction: bool) -> list[Any]:
        if not commands:
            return []
        with self.failing():
            pipeline = self._client.pipeline(transaction=transaction)
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            # Raised there, an error would hold the command, and with it a session's text.
            answers: list[Any] = pipeline.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception) and not _is_of_wrong_type(answer):
                    raise answer
        return answers


def _is_of_wrong_type(answer: object) -> bool:
    return isinstance(answer, redis.ResponseError) and str(answer).startswith("WRONGTYPE")


def _checked(answer: Any) -> Any:  # noqa: ANN401  # what Redis answers
    if _is_of_wrong_type(answer):
        raise Damaged("its key holds something else")
    return answer


def in_words(error: Exception) -> str:
    """Return what is wrong, and what to do."""
    found = str(error).partition(" script:")[0].strip() or type(error).__name__
    for beginning, advice in _BY_BEGINNING.items():
        if found.startswith(beginning):
            return f"{found}; {advice}"
    for kind, advice in _BY_KIND:
        if isinstance(error, kind):
            return f"{found}; {advice}"
    return found
