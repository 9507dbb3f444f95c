"""`cellwire serve` with a fault: after so many runs, the runtime raises what nothing expects.

python -m tests.end_to_end.failing_daemon RUNS [OPTIONS OF SERVE]
"""

from __future__ import annotations

import sys

import typer

from cellwire.server.batch.step import StepBatch, StepResult
from cellwire.server.batch.stepper import Run
from cellwire.server.cli import serve
from cellwire.server.runtime.runtime import Runtime


class Fault(BaseException):
    """No error of the daemon's, nor of the runtime's."""


def fail_after(runs: int) -> None:
    """Let every runtime of this process fail after so many runs."""
    start, left = Runtime.start, runs

    def failing(runtime: Runtime, batch: StepBatch) -> Run[StepResult]:
        nonlocal left
        left -= 1
        if left < 0:
            raise Fault("a fault in the test")
        return start(runtime, batch)

    Runtime.start = failing  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    fail_after(int(sys.argv.pop(1)))
    typer.run(serve)
