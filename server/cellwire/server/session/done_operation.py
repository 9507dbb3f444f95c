"""What a session remembers of an operation that it has carried out."""

from __future__ import annotations

from cellwire.server.session.events import (
    Appended,
    Checkpointed,
    CheckpointRestored,
    Discarded,
    Finished,
    Rejected,
    Rewound,
)
from cellwire.server.state.change import DoneKind, DoneOperation

LastAnswer = (
    Appended | Finished | Rejected | Rewound | Checkpointed | CheckpointRestored | Discarded
)

_KINDS = {
    Rewound: DoneKind.REWOUND,
    Checkpointed: DoneKind.CHECKPOINTED,
    CheckpointRestored: DoneKind.RESTORED,
    Discarded: DoneKind.DISCARDED,
}


def done_operation(event: LastAnswer, length: int) -> DoneOperation | None:
    """Return what a client that loses this answer needs; None if nothing was to change.

    `length` is that of the text in the events up to this one. Nor is an operation remembered whose
    id is 0, which stands for none.
    """
    operation_id = event.operation_id
    if operation_id == 0:
        return None
    match event:
        case Appended():
            log_probability = event.log_probability
            return DoneOperation(operation_id, DoneKind.APPENDED, length, log_probability)
        case Rewound() | Checkpointed() | CheckpointRestored() | Discarded():
            name = "" if isinstance(event, Rewound) else event.name
            return DoneOperation(operation_id, _KINDS[type(event)], length, name=name)
        case Finished() if event.after is not None:
            return DoneOperation(
                operation_id,
                DoneKind.FINISHED,
                length,
                reason=event.reason.value,
                appended_tokens=event.appended_tokens,
                generated_tokens=event.generated_tokens,
                stop_string=event.stop_string,
                stop_text=event.stop_text,
            )
        case Rejected() if event.after is not None:
            error = event.error
            name, message = type(error).__name__, str(error)
            return DoneOperation(
                operation_id, DoneKind.REJECTED, length, error=name, message=message
            )
        case _:
            return None
