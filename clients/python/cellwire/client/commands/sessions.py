"""`cellwire sessions`: what can be done with sessions from outside.

A daemon lists no sessions: an id is all that is needed to use one, so it is told to nobody but
whoever has opened it. Whoever runs the daemon has its store, where durable sessions are: `--state`.
"""

from __future__ import annotations

import sys
import time
from itertools import islice
from pathlib import Path
from typing import Annotated, Literal

import typer

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands import stored_output
from cellwire.client.commands.operator_store import every_session, opened
from cellwire.client.commands.outcome import Failed, Misused, run
from cellwire.client.commands.output import on_one_line, say, show
from cellwire.client.commands.parameters import Target
from cellwire.client.values import SessionInfo

sessions = typer.Typer(
    help="List, show, export, import or delete sessions.\n\n"
    "A daemon shows a session to whoever knows its id, and lists none. Whoever runs the daemon "
    "reads its store, with --state: the durable sessions, whether or not the daemon runs."
)

_Id = Annotated[str, typer.Argument(metavar="ID", help="The session's id, as `opened` gave it.")]
_State = Annotated[
    str | None,
    typer.Option(
        metavar="DIR|URL",
        help="The store instead of a daemon: what `cellwire serve --state` was given.",
        show_default=False,
    ),
]


@sessions.command("list")
def list_sessions(
    *,
    state: Annotated[
        str | None,
        typer.Option(
            metavar="DIR|URL",
            help="What `cellwire serve --state` was given.",
            envvar="CELLWIRE_STATE",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Only sessions of this model: its name when they began, or the first digits of "
            "its file's SHA-256.",
        ),
    ] = None,
    expired: Annotated[
        bool, typer.Option("--expired", help="Only sessions that are kept no longer.")
    ] = False,
    after: Annotated[
        str, typer.Option(metavar="ID", help="Go on behind this session.", show_default=False)
    ] = "",
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="The most sessions.")] = 100,
    json: Annotated[
        bool, typer.Option("--json", help="Write each session as a line of JSON.")
    ] = False,
) -> None:
    """List the durable sessions in a daemon's store, in the order of their ids.

    For example:

        cellwire sessions list --state /var/lib/cellwire
        cellwire sessions list --state /var/lib/cellwire --expired --json
    """
    if state is None:
        raise Misused(
            "give --state, what `cellwire serve --state` was given; a daemon itself lists no "
            "sessions, since an id is all that is needed to use one"
        )
    now_s = time.time()
    with opened(state) as store:
        found = (
            facts
            for facts in every_session(store, after)
            if stored_output.is_wanted(facts, model, expired_at=now_s if expired else None)
        )
        listed = list(islice(found, limit))
        more = bool(listed) and next(found, None) is not None
    if json:
        for facts in listed:
            show(stored_output.json_line(facts))
    else:
        stored_output.show_table(listed, now_s)
    if more:
        say(f"there are more: --after {on_one_line(listed[-1].session_id)}")


@sessions.command("show")
def show_session(
    context: typer.Context,
    session_id: _Id,
    *,
    state: _State = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Show a session's model, seed, length and, if a daemon is asked, the end of its text."""
    if _is_for_store(context, state):
        with opened(state or "") as store:
            show(stored_output.described(store.session(session_id)))
        return

    async def show_it() -> None:
        async with connect(target) as daemon:
            show(_described(await daemon.get_session(session_id)))

    run(show_it(), target)


@sessions.command("export")
def export_session(
    context: typer.Context,
    session_id: _Id,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Where to write it; - is stdout.")],
    *,
    force: Annotated[bool, typer.Option("--force", help="Write over a file that exists.")] = False,
    state: _State = None,
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
    if _is_for_store(context, state):
        with opened(state or "") as store:
            _write(file, store.export(session_id))
        return

    async def export_it() -> None:
        async with connect(target) as daemon:
            _write(file, await daemon.export_session(session_id))

    run(export_it(), target)


@sessions.command("import")
def import_session(
    context: typer.Context,
    file: Annotated[
        str, typer.Argument(metavar="FILE", help="What `export` has written; - is stdin.")
    ],
    *,
    new_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="The session's id.", show_default="a new one"),
    ] = None,
    durability: Annotated[
        Literal["none", "safe_later", "safe_first"] | None,
        typer.Option(
            help="Whether it outlives the daemon, and what its answers wait for.",
            show_default="none; in a store safe_later",
        ),
    ] = None,
    state: _State = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Create a session from an exported one; its id is written to stdout."""
    snapshot = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    if not snapshot:
        raise Failed(f"{'stdin' if file == '-' else file} is empty; it holds no session")
    if _is_for_store(context, state):
        with opened(state or "") as store:
            show(f"{store.restore(snapshot, new_id, durability or 'safe_later')}\n")
        return

    async def import_it() -> None:
        async with connect(target) as daemon:
            imported = await daemon.import_session(
                snapshot, session_id=new_id, durability=durability or "none"
            )
            show(f"{imported.session_id}\n")

    run(import_it(), target)


@sessions.command("delete")
def delete_session(
    context: typer.Context,
    session_id: _Id,
    *,
    state: _State = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Delete a session at once, even while a client uses it."""
    if _is_for_store(context, state):
        with opened(state or "") as store:
            store.delete(session_id)
        say(f"deleted session {on_one_line(session_id)}")
        return

    async def delete_it() -> None:
        async with connect(target) as daemon:
            await daemon.delete_session(session_id)
            say(f"deleted session {on_one_line(session_id)}")

    run(delete_it(), target)


def _is_for_store(context: typer.Context, state: str | None) -> bool:
    """Whether the store is meant and not a daemon; Misused if both are."""
    source = context.get_parameter_source("target")
    if state is not None and source is not None and source.name == "COMMANDLINE":
        raise Misused("give --state, for the store itself, or --target, for a daemon; not both")
    return state is not None


def _described(session: SessionInfo) -> str:
    return stored_output.facts_as_lines(
        {
            "session": session.session_id,
            "model": on_one_line(session.model),
            "seed": session.seed,
            "tokens": f"{session.offset:,}",
            "attached": "yes" if session.attached else "no",
            "running": ", ".join(map(str, session.operation_ids)) or "nothing",
            "text ends": on_one_line(session.tail),
        }
    )


def _write(file: str, snapshot: bytes) -> None:
    if file == "-":
        sys.stdout.buffer.write(snapshot)
        sys.stdout.buffer.flush()
    else:
        Path(file).write_bytes(snapshot)
        say(f"wrote {file}: {len(snapshot):,} bytes")
