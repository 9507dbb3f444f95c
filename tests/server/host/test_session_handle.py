"""A session without a daemon: the call attached to it, what it leaves behind, and the expiry."""

from __future__ import annotations

import asyncio
import gc
import weakref
from types import SimpleNamespace
from typing import Any, cast

import pytest

from cellwire.model_file.manifest import VocabularyFacts
from cellwire.model_file.vocabulary import Vocabulary
from cellwire.server.batch.limits import REMEMBERED_TOKENS
from cellwire.server.engine.commands import (
    CancelAll,
    CloseSession,
    Command,
    FinishSession,
    GrantTokens,
    HoldSession,
    OpenSession,
)
from cellwire.server.errors import (
    Aborted,
    CellwireError,
    FailedPrecondition,
    NotFound,
    Unavailable,
)
from cellwire.server.host.registry import Registry, ServedModel
from cellwire.server.host.session_directory import SessionDirectory
from cellwire.server.host.session_handle import SessionHandle
from cellwire.server.host.settings import OnDisconnect, Settings, new_session_id
from cellwire.server.host.text_memory import MIB, TextMemory
from cellwire.server.session.events import Closed, Forked

VOCABULARY = Vocabulary.of(VocabularyFacts("bytes"))


class Call:
    """A call that can be attached; notes why it was aborted."""

    error: CellwireError | None = None

    def abort(self, error: CellwireError) -> None:
        self.error = error


class Loop:
    """Keeps the commands for an engine."""

    def __init__(self) -> None:
        self.commands: list[Command] = []

    def post(self, command: Command) -> bool:
        self.commands.append(command)
        return True


@pytest.fixture
def loop() -> Loop:
    return Loop()


@pytest.fixture
async def sessions() -> SessionDirectory:
    return SessionDirectory(cast("Registry", None), TextMemory(MIB))


def open_session(sessions: SessionDirectory, loop: Loop, **settings: Any) -> SessionHandle:  # noqa: ANN401
    model = cast("ServedModel", SimpleNamespace(loop=loop, vocabulary=VOCABULARY))
    return sessions.open(new_session_id(), model, 7, Settings(**settings))


async def test_a_new_session_is_opened_in_its_engine(
    sessions: SessionDirectory, loop: Loop
) -> None:
    session = open_session(sessions, loop, rewind_window=9)
    assert loop.commands == [OpenSession(session.id, 0, 7, 9)]
    assert sessions.find(session.id) is session
    assert not session.expiry.running


@pytest.mark.parametrize(
    ("on_disconnect", "command"),
    [
        (OnDisconnect.DELETE, CloseSession),
        (OnDisconnect.CANCEL, CancelAll),
        (OnDisconnect.PAUSE, HoldSession),
        (OnDisconnect.CONTINUE, GrantTokens),
    ],
)
async def test_a_broken_call_leaves_the_session_as_its_settings_say(
    sessions: SessionDirectory, loop: Loop, on_disconnect: OnDisconnect, command: type
) -> None:
    session, call = open_session(sessions, loop, on_disconnect=on_disconnect), Call()
    session.attach(call)
    session.detach(call, broken=True)
    kept = on_disconnect is not OnDisconnect.DELETE
    assert isinstance(loop.commands[-1], command)
    assert (len(sessions), session.expiry.running) == (int(kept), kept)
    if isinstance(loop.commands[-1], GrantTokens):
        assert loop.commands[-1].tokens == REMEMBERED_TOKENS
    session.end()


@pytest.mark.parametrize("on_disconnect", OnDisconnect)
async def test_a_call_that_ends_in_order_keeps_the_session(
    sessions: SessionDirectory, loop: Loop, on_disconnect: OnDisconnect
) -> None:
    session, call = open_session(sessions, loop, on_disconnect=on_disconnect), Call()
    session.attach(call)
    session.finish()
    keep = on_disconnect is not OnDisconnect.DELETE
    assert loop.commands[-1] == FinishSession(session.id, keep)
    session.detach(call, broken=False)
    assert session.expiry.running
    session.end()


async def test_one_call_is_attached_at_a_time(sessions: SessionDirectory, loop: Loop) -> None:
    session, first, second = open_session(sessions, loop), Call(), Call()
    assert not session.attach(first)
    with pytest.raises(FailedPrecondition, match="takeover"):
        session.attach(second)
    assert first.error is None
    assert session.attach(second, takeover=True)
    assert isinstance(first.error, Aborted)
    session.detach(first, broken=True)  # too late to matter
    assert session.attachment is second


async def test_an_expired_session_is_closed_and_forgotten(
    sessions: SessionDirectory, loop: Loop
) -> None:
    session, call = open_session(sessions, loop, idle_timeout_s=1), Call()
    session.attach(call)
    session.detach(call, broken=False)
    session.expiry.start(0.001, session.end)  # in place of a second
    async with asyncio.timeout(10):
        while len(sessions):  # noqa: ASYNC110  # nothing else tells of it
            await asyncio.sleep(0.001)
    assert loop.commands[-1] == CloseSession(session.id)
    with pytest.raises(NotFound):
        sessions.find(session.id)


async def test_attaching_stops_the_expiry(sessions: SessionDirectory, loop: Loop) -> None:
    session = open_session(sessions, loop)
    session.wait_for_attach()
    assert session.expiry.running
    session.attach(Call())
    assert not session.expiry.running


async def test_a_closed_session_does_not_expire(sessions: SessionDirectory, loop: Loop) -> None:
    session, call = open_session(sessions, loop), Call()
    session.attach(call)
    session.mark_closed()
    session.detach(call, broken=False)
    session.wait_for_attach()
    assert not session.expiry.running


async def test_a_session_that_ends_tells_its_call_why(
    sessions: SessionDirectory, loop: Loop
) -> None:
    session, error = open_session(sessions, loop), Aborted("deleted")
    session.end(error)
    assert session.outbox.take() == [Closed(session.id, None, error)]


async def test_draining_ends_what_no_call_is_attached_to(
    sessions: SessionDirectory, loop: Loop
) -> None:
    attached = open_session(sessions, loop, on_disconnect=OnDisconnect.PAUSE)
    idle, call = open_session(sessions, loop), Call()
    attached.attach(call)
    idle.wait_for_attach()
    sessions.drain()
    assert list(sessions) == [attached]
    with pytest.raises(Unavailable):
        open_session(sessions, loop)
    with pytest.raises(Unavailable):
        sessions.find(attached.id)
    attached.finish()
    assert loop.commands[-1] == FinishSession(attached.id, keep=False)
    attached.detach(call, broken=True)
    async with asyncio.timeout(10):
        await sessions.drained()


async def test_a_fork_whose_parent_is_gone_is_closed(
    sessions: SessionDirectory, loop: Loop
) -> None:
    parent = open_session(sessions, loop)
    sessions.deliver(cast("Any", loop), [Forked(parent.id, 1, "child", 3, 5)])
    assert sessions.find("child").expiry.running
    parent.end()
    sessions.deliver(cast("Any", loop), [Forked(parent.id, 2, "orphan", 3, 5)])
    assert loop.commands[-1] == CloseSession("orphan")
    assert [session.id for session in sessions] == ["child"]
    sessions.find("child").end()


def test_a_session_that_has_ended_stays_in_no_cycle(sessions: SessionDirectory, loop: Loop) -> None:
    gc.disable()
    try:
        session, call = open_session(sessions, loop), Call()
        session.attach(call)
        session.end()
        gone = weakref.ref(session)
        del session
        loop.commands.clear()
        assert gone() is None
    finally:
        gc.enable()
