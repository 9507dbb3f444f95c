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
from cellwire.server.store.redis_scripts import READ

Command = Sequence[bytes | str | float]
Read = Callable[[], Any]

_BY_BEGINNING = {
    "MISCONF": "it cannot write to its disk: look at its log",
    "NOREPLICAS": "it has fewer replicas than its min-replicas-to-write: start them",
    "BUSY": "a script of another program keeps it busy: end it with SCRIPT KILL",
}
_BY_KIND: tuple[tuple[type[redis.RedisError], str], ...] = (
    (redis.BusyLoadingError, "it reads its data from the disk, and answers when that is done"),
    (redis.ReadOnlyError, "it is a replica: give --state the primary's address"),
    (redis.exceptions.MasterDownError, "it is a replica: give --state the primary's address"),
    (redis.OutOfMemoryError, "its maxmemory is reached: raise it, or delete sessions"),
    (
        redis.exceptions.NoPermissionError,
        "its user may not do that: allow it ~cellwire:* &cellwire:* +@all -@dangerous +info",
    ),
    (redis.AuthenticationError, "give --state redis://USER:PASSWORD@HOST:PORT/DB"),
    (redis.TimeoutError, "it does not answer in time: see whether it hangs, or its disk is slow"),
    (redis.ConnectionError, "see that it runs, and that this machine reaches it"),
)


class StoreFull(StoreFailed):
    """The server's maxmemory is reached: what frees memory is still carried out."""


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
        """Return the answers to commands about one session, which see the same moment; Damaged."""
        if len(commands) == 1:
            answers = self.run(*commands)
        else:
            # A transaction would be refused by a server that is full.
            keys = [command[1] for command in commands]
            parts = [part for command in commands for part in (len(command), *command)]
            (answers,) = self.run(("EVAL", READ, len(keys), *keys, *parts))
        return [_checked(answer) for answer in answers]

    def read_each(self, commands: Sequence[Command]) -> list[Read]:
        """Return what returns each command's answer, or raises Damaged where the key is no such."""
        return [partial(_checked, answer) for answer in self.run(*commands)]

    def run(self, *commands: Command) -> list[Any]:
        """Return the answers to commands. WRONGTYPE is an answer, too."""
        if not commands:
            return []
        with self.failing():
            pipeline = self._client.pipeline(transaction=False)
            for command in commands:
                pipeline.execute_command(*command)  # type: ignore[no-untyped-call]
            # Raised there, an error would hold the command, and with it a session's text.
            answers: list[Any] = pipeline.execute(raise_on_error=False)
            for answer in answers:
                if isinstance(answer, Exception) and not _is_of_wrong_type(answer):
                    raise answer
        return answers

    def write(self, *commands: Command) -> list[Any]:
        """Return the answers to commands when as many replicas as were asked for have them."""
        if not self._replicas:
            return self.run(*commands)
        # It waits for all that the server has written before.
        *answers, reached = self.run(*commands, ("WAIT", self._replicas, self._wait_ms))
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
            kind = StoreFull if isinstance(error, redis.OutOfMemoryError) else StoreFailed
            raise kind(f"the Redis server {self.name} failed: {in_words(error)}") from error


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
