"""The command `cellwire chat`."""

from __future__ import annotations

import os
import sys

import typer

from cellwire.client.client import DEFAULT_TARGET, connect
from cellwire.client.commands.parameters import MaxTokens, Model, Seed, Target, Temperature, TopK
from cellwire.client.commands.terminal import run, say, show
from cellwire.client.options import GenerateOptions

_MISSING = 2
_EXTRA = "cellwire chat needs the cli extra in a terminal: pip install 'cellwire[cli]'"


def chat(
    *,
    max_tokens: MaxTokens = 200,
    temperature: Temperature = 0.8,
    top_k: TopK = 0,
    seed: Seed = None,
    model: Model = None,
    target: Target = DEFAULT_TARGET,
) -> None:
    """Write a text in turns with the model, in one session.

    In a terminal, a screen to write in: F1 shows its keys. Otherwise the model continues each line
    of stdin.
    """
    options = GenerateOptions(max_tokens=max_tokens, temperature=temperature, top_k=top_k)
    if _in_terminal():
        _need_extra()
        run(_edit(target, model, seed, options), target)
    else:
        run(_take_turns(target, model, seed, options), target)


async def _edit(target: str, model: str | None, seed: int | None, options: GenerateOptions) -> None:
    from cellwire.client.commands.chat.app import run_app
    from cellwire.client.commands.chat.editor import Editor
    from cellwire.client.commands.chat.link import Link
    from cellwire.client.commands.chat.worker import Worker

    link = Link(target, model, seed)
    await link.open()
    editor = Editor(options["temperature"])
    try:
        await run_app(editor, Worker(editor, link, options))
    finally:
        # The screen is gone, and may have shown only the end of the text.
        if editor.buffer.text:
            show(f"{editor.buffer.text}\n")


async def _take_turns(
    target: str, model: str | None, seed: int | None, options: GenerateOptions
) -> None:
    from cellwire.client.commands.chat.turns import take_turns

    async with connect(target) as client, client.session(model=model, seed=seed) as session:
        await take_turns(session, options)


def _need_extra() -> None:
    """Exit with 2 if Textual is not installed."""
    try:
        import regex  # noqa: F401
        import textual  # noqa: F401
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in {"regex", "textual"}:
            raise
        say(_EXTRA.removeprefix("cellwire "))
        raise typer.Exit(_MISSING) from None


def _in_terminal() -> bool:
    dumb = os.environ.get("TERM") == "dumb"
    return sys.stdin.isatty() and sys.stdout.isatty() and not dumb
