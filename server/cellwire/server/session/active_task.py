"""The operation in progress, and the replay that goes before it."""

from __future__ import annotations

from cellwire.server.batch.beam_step import BeamInput, BeamResult
from cellwire.server.batch.row import Row, RowResult
from cellwire.server.session.complete_task import CompleteTask
from cellwire.server.session.operations import Operation
from cellwire.server.session.restore_task import RestoreTask
from cellwire.server.session.task import (
    MULTI_STEP,
    OperationTask,
    ReplayTask,
    RunKind,
    StepTask,
)


class ActiveTask:
    """A task that the engine runs, after a replay if tokens of the text are missing in the head."""

    __slots__ = ("_replay", "_step_task", "task")

    def __init__(self, task: OperationTask) -> None:
        self.task = task
        steps = not (task.ended or isinstance(task, RestoreTask))
        behind = steps and task.state_history.replay_left > 0
        self._replay = ReplayTask(task.state_history) if behind else None
        own = task if isinstance(task, StepTask) else None  # None: it searches
        self._step_task: StepTask | None = self._replay or own

    @property
    def operation(self) -> Operation:
        """The operation in progress."""
        return self.task.operation

    @property
    def run_kind(self) -> RunKind:
        """The kind of its next run."""
        return self.task.run_kind if self._replay is None else MULTI_STEP

    @property
    def max_steps(self) -> int:
        """The steps of its next run until it has an answer."""
        return self.task.max_steps if self._replay is None else self._replay.max_steps

    def row(self, steps: int) -> Row:
        """Return its row of a run of at most `steps` steps."""
        assert self._step_task is not None
        return self._step_task.row(steps)

    def commit(self, result: RowResult | BeamResult) -> None:
        """Record the result of its row, or of its search."""
        if isinstance(result, BeamResult):
            assert isinstance(self.task, CompleteTask)
            self.task.commit(result)
            return
        assert self._step_task is not None
        self._step_task.commit(result)
        if self._replay is not None and self._replay.ended:
            self._replay = None
            self._step_task = self.task if isinstance(self.task, StepTask) else None

    def beam_input(self) -> BeamInput:
        """Return the hypotheses of its search."""
        assert isinstance(self.task, CompleteTask)
        return self.task.beam_input()
