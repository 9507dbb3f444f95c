"""`cellwire chat`: a person and a model write one text in turns.

Everything but `app.py` and `view.py` is independent of the terminal and of Textual: the text and
its undo, the session that follows it, and the rows and lines that are drawn.
"""

from __future__ import annotations

from cellwire.client.commands.chat.command import chat

__all__ = ["chat"]
