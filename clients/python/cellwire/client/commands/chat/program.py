"""The chat in a terminal, from the first connection to the text that is left."""

from __future__ import annotations

import asyncio

from cellwire.client.commands.chat.app import ChatApp
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


async def run_app(editor: Editor, worker: Worker) -> None:
    """Show an editor in the terminal until the user leaves; the session then ends."""
    working = asyncio.create_task(worker.run())
    app = ChatApp(editor, worker)
    # A fault of the worker must end the program, and show.
    working.add_done_callback(lambda _: app.exit())
    try:
        await app.run_async(mouse=False)
    finally:
        editor.leave()
        done, _ = await asyncio.wait([working], timeout=2)
        working.cancel()
        await asyncio.wait([working])
        if done:
            working.result()
