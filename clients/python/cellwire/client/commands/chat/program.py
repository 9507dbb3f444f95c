"""The chat in a terminal, from the first connection to the text that is left."""

from __future__ import annotations

from cellwire.client.commands.chat.app import run_app
from cellwire.client.commands.chat.editor import Editor
from cellwire.client.commands.chat.link import Link
from cellwire.client.commands.chat.worker import Worker
from cellwire.client.commands.output import show
from cellwire.client.options import GenerateOptions


async def edit(target: str, model: str | None, seed: int | None, options: GenerateOptions) -> None:
    """Let a person write with a model; then leave the text on stdout."""
    link = Link(target, model, seed)
    await link.open()
    editor = Editor(options.get("temperature", 1.0))
    try:
        await run_app(editor, Worker(editor, link, options))
    finally:
        # The screen is gone, and may have shown only a part of the text.
        if editor.buffer.text:
            show(f"{editor.buffer.text}\n")
