"""What a daemon could do wrong, for tests of the checks."""

from __future__ import annotations

from enum import Enum, auto


class Fault(Enum):
    """One fault of the fake daemon or of its store."""

    LOSES_SAFE_CHANGE = auto()  # a restart goes back before what was said to be safe
    SAYS_SAFE_TOO_EARLY = auto()  # before the store has it
    TELLS_SAFE_FIRST_AT_ONCE = auto()  # an answer does not wait until it is safe
    SAVES_TOO_EARLY = auto()  # save is answered at once
    LOSES_ON_TERMINATE = auto()  # SIGTERM ends the process as SIGKILL does
    LOSES_SESSION = auto()  # a restart forgets a session
    REVIVES_CLOSED_SESSION = auto()  # a deletion does not reach the store
    WRONG_REVISION = auto()  # a woken session counts one change more
    WRONG_SAFE_OFFSET = auto()  # the safe point names another offset
    RESURRECTS_REWIND = auto()  # a woken session has the text from before its last rewind
    FORGETS_CHECKPOINTS = auto()  # a woken session has none
    RESTORES_ANOTHER_STATE = auto()  # the text is right, and what follows is not
    LOSES_LAST_SYMBOL = auto()  # a woken session ends one symbol too early
    MIXES_SESSIONS = auto()  # a woken session has a symbol of another text
    WAKES_WITH_ANOTHER_STATE = auto()  # the text is right, and what follows is not
    FORGETS_DONE = auto()  # a woken session remembers no operations
    REMEMBERS_TOO_MUCH = auto()  # done names an operation that a crash has undone
    DOUBLES_CHUNK = auto()
    DROPS_CHUNK = auto()
    REORDERS_ANSWERS = auto()
    ANSWERS_TWICE = auto()
    FORK_FOLLOWS_PARENT = auto()  # the copy has text from after the fork
    IGNORES_START_OFFSET = auto()  # a generate sent again begins anew
    RUNS_LOST_OPERATIONS = auto()  # a woken session carries out the last operation again
