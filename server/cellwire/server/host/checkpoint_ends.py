"""How the texts of a session's named checkpoints end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from cellwire.model_file.text_end import SETTLED, TextEnd
from cellwire.server.session.events import (
    Checkpointed,
    Discarded,
    Event,
    Finished,
    Rejected,
    TextEndAfter,
)
from cellwire.server.session.operations import Checkpoint, Operation, Restore
from cellwire.server.state.named_checkpoint import NamedCheckpoint


class CheckpointEnds:
    """What a client sends behind a restore is read as what follows the checkpoint's text.

    As with TextEnds, all operations so far are assumed to succeed.
    """

    def __init__(self, checkpoints: Iterable[NamedCheckpoint] = ()) -> None:
        self._ends = {checkpoint.name: checkpoint.end for checkpoint in checkpoints}

    def assume(self, operation: Operation, text_end: TextEnd) -> Operation:
        """Note how the text ends at a checkpoint; return a restore with the end of its text."""
        if isinstance(operation, Checkpoint):
            self._ends[operation.name] = text_end
        elif isinstance(operation, Restore):
            return replace(operation, text_end=self._ends.get(operation.name, SETTLED))
        return operation

    def correct(self, event: Event, known: Mapping[str, NamedCheckpoint]) -> None:
        """Follow an answer; `known` are the checkpoints that there are after it."""
        match event:
            case Checkpointed() | Discarded():
                name = event.name
            case Rejected(after=TextEndAfter(operation=Checkpoint(name=name))):
                pass
            case Finished(after=TextEndAfter(operation=Checkpoint(name=name))):
                pass
            case _:
                return
        if name in known:
            self._ends[name] = known[name].end
        else:
            self._ends.pop(name, None)
