"""Commands as calls of their session."""

from __future__ import annotations

from cellwire.server.engine import commands
from cellwire.server.engine.commands import SessionCommand
from cellwire.server.errors import CellwireError
from cellwire.server.session.restore_task import RestoreTask
from cellwire.server.session.session import Session


def dispatch(command: SessionCommand, session: Session) -> None:
    """Let a session carry out a command; those that it cannot are the engine's."""
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
        case commands.SupplySnapshot():
            _supply(command, session)
        case commands.CloseSession():
            session.close(None, command.error)


def _supply(command: commands.SupplySnapshot, session: Session) -> None:
    task, snapshot = session.task, command.snapshot
    if not isinstance(task, RestoreTask) or task.operation is not command.operation:
        return
    if isinstance(snapshot, CellwireError):
        session.fail(snapshot)
    else:
        task.restore(snapshot)
