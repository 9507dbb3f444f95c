"""What the commands share, under the names that `chat` knows: running, output, errors."""

from __future__ import annotations

from cellwire.client.commands.outcome import INTERRUPTED, fail, run
from cellwire.client.commands.output import on_one_line, say, show

__all__ = ["INTERRUPTED", "fail", "on_one_line", "run", "say", "show"]
