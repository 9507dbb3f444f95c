"""An editor in the terminal."""

from __future__ import annotations

import asyncio

from prompt_toolkit.application import Application
from prompt_toolkit.formatted_text import StyleAndTextTuples
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.layout import FormattedTextControl, HSplit, Layout, Window

from cellwire.client.commands.editor import Editor

MAX_DRAWN_CHARACTERS = 4096
"""How many characters of a text are drawn: more than a screen holds."""

_KEYS = "Tab: accept  Enter: continue  Alt-Enter: new line  Ctrl-C: stop, then leave"


async def edit(editor: Editor) -> None:
    """Show the editor until the user leaves; raises what the editor's `run` does."""
    application: Application[None] = Application(
        layout=Layout(_windows(editor)), key_bindings=_bindings(editor), erase_when_done=True
    )
    editor.changed = application.invalidate
    drawing = asyncio.create_task(application.run_async())
    drawing.add_done_callback(lambda _: editor.leave())  # the terminal may be closed
    try:
        await editor.run()
    finally:
        drawing.cancel()
        await asyncio.wait([drawing])


def text_of(editor: Editor) -> StyleAndTextTuples:
    """Return the text, the cursor, and the completion in grey."""
    # The cursor needs a character to stand on.
    completion = editor.completion.replace("\n", "↵") or " "
    return [
        ("", editor.text[-MAX_DRAWN_CHARACTERS:]),
        ("[SetCursorPosition]", ""),
        ("fg:ansibrightblack", completion),
    ]


def status_of(editor: Editor) -> StyleAndTextTuples:
    """Return the status line: the notice, or else the keys."""
    if editor.notice:
        return [("fg:ansired", editor.notice)]
    return [("fg:ansibrightblack", "Ctrl-C: stop" if editor.generating else _KEYS)]


def _windows(editor: Editor) -> HSplit:
    text = FormattedTextControl(lambda: text_of(editor), focusable=True)
    status = FormattedTextControl(lambda: status_of(editor))
    return HSplit(
        [Window(text, wrap_lines=True, dont_extend_height=True), Window(status, height=1)]
    )


def _bindings(editor: Editor) -> KeyBindings:
    bindings = KeyBindings()
    keys = {
        ("tab",): editor.accept,
        ("backspace",): editor.go_back,
        ("enter",): editor.go_on,
        ("escape", "enter"): lambda: editor.type("\n"),
        ("c-j",): lambda: editor.type("\n"),
        ("c-c",): editor.interrupt,
        ("<sigint>",): editor.interrupt,
        ("c-d",): editor.leave,
    }
    for sequence, act in keys.items():
        bindings.add(*sequence)(lambda _, act=act: act())

    @bindings.add(Keys.Any)
    def _(event: KeyPressEvent) -> None:
        if event.data == event.key_sequence[0].key:  # a special key has a name as its key
            editor.type(event.data)

    @bindings.add(Keys.BracketedPaste)
    def _(event: KeyPressEvent) -> None:
        editor.type(event.data.replace("\r\n", "\n").replace("\r", "\n"))

    return bindings
