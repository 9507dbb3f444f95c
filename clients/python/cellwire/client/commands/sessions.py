"""`cellwire sessions`: what can be done with a session whose id is known.

There is no list of sessions on purpose: an id is all that is needed to use a session, so the daemon
tells it to nobody but whoever has opened it.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.outcome import Failed, Misused, run
from cellwire.client.commands.output import on_one_line, say, show
from cellwire.client.commands.parameters import Target
from cellwire.client.values import SessionInfo

sessions = typer.Typer(
    help="Show, export, import or delete a session by its id.\n\n"
    "Sessions are not listed: an id is all that is needed to use one."
)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The session's id, as `opened` gave it.")]


@sessions.command("show")
def show_session(session_id: _Id, *, target: Target = DEFAULT_TARGET) -> None:
    """Show a session's model, seed, length and the end of its text."""

    async def show_it() -> None:
        async with connect(target) as daemon:
            show(_described(await daemon.get_session(session_id)))

    run(show_it(), target)


@sessions.command("export")
def export_session(
    session_id: _Id,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it; - is stdout.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Write a session as a file, from which it continues here or on another daemon.

    For example:

        cellwire sessions export 0123abcd chat.session
        cellwire sessions import chat.session --target other:50051
    """
    if file == "-" and sys.stdout.isatty():
        raise Misused("a session is no text for a terminal; give a file, or a pipe")
    if file != "-" and not force and Path(file).exists():
        raise Misused(f"{file} exists; give another file, or --force to write over it")

    async def export_it() -> None:
        async with connect(target) as daemon:
            _write(file, await daemon.export_session(session_id))

    run(export_it(), target)


@sessions.command("import")
def import_session(
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What `export` has written; - is stdin.")
    ],
    *,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Create a session from an exported one; its id is written to stdout."""
    snapshot = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    if not snapshot:
        raise Failed(f"{'stdin' if file == '-' else file} is empty; it holds no session")

    async def import_it() -> None:
        async with connect(target) as daemon:
            imported = await daemon.import_session(snapshot)
            show(f"{imported.session_id}\n")

    run(import_it(), target)


@sessions.command("delete")
def delete_session(session_id: _Id, *, target: Target = DEFAULT_TARGET) -> None:
    """Delete a session at once, even while a client uses it."""

    async def delete_it() -> None:
        async with connect(target) as daemon:
            await daemon.delete_session(session_id)
            say(f"deleted session {on_one_line(session_id)}")

    run(delete_it(), target)


def _described(session: SessionInfo) -> str:
    facts = {
        "session": session.session_id,
        "model": on_one_line(session.model),
        "seed": session.seed,
        "tokens": f"{session.offset:,}",
        "attached": "yes" if session.attached else "no",
        "running": ", ".join(map(str, session.operation_ids)) or "nothing",
        "text ends": on_one_line(session.tail),
    }
    return "".join(f"{name + ':':<11}{fact}\n" for name, fact in facts.items())


def _write(file: str, snapshot: bytes) -> None:
    if file == "-":
        sys.stdout.buffer.write(snapshot)
        sys.stdout.buffer.flush()
    else:
        Path(file).write_bytes(snapshot)
        say(f"wrote {file}: {len(snapshot):,} bytes")
