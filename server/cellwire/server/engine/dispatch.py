"""Commands as calls of their session."""

from __future__ import annotations

from collections.abc import Callable

from cellwire.server.engine import commands
from cellwire.server.session.append_task import AppendTask
from cellwire.server.session.session import Session


def dispatch(
    command: commands.Command, session: Session, read_state: Callable[[Session], None]
) -> None:
    """Let a session carry out a command; `OpenSession`, which has none, is the engine's.

    `read_state` reports a session's oldest state.
    """
    match command:
        case commands.SubmitOperation():
            session.submit(command.operation)
        case commands.FinishSession():
            session.finish(keep=command.keep)
        case commands.CancelOperation():
            session.cancel(command.operation_id, command.target)
        case commands.CancelAll():
            session.cancel_all()
        case commands.GrantTokens():
            session.grant(command.tokens)
        case commands.HoldSession():
            session.hold()
        case commands.AttachReader():
            session.attach(command.operation_id, command.offset)
        case commands.ReadState():
            # A running append has added tokens that are in no event yet.
            if isinstance(session.task, AppendTask):
                session.queue.read_state()
            else:
                read_state(session)
        case commands.CloseSession():
            session.close(None, command.error)
